package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/gcsync/gcsync/bench/internal/harness"
)

// A picture is a plot of the report.
type picture struct {
	Name  string // of the file
	About string
	SVG   string
}

const (
	width, height = 16 * vg.Centimeter, 8 * vg.Centimeter
	legendWidth   = 2.6 * vg.Centimeter // beside the plot, where it hides nothing
)

// colours of the locks: dark enough for a white page, and told apart by those who see no red or no green.
var colours = map[string]color.Color{
	"gcsync":     color.RGBA{0x00, 0x5f, 0xb8, 0xff},
	"lease":      color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	"as-gmutex":  color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	"as-gcslock": color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	"backoff":    color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	"as-python":  color.RGBA{0x88, 0x88, 0x88, 0xff},
	"etcd":       color.RGBA{0x00, 0x9e, 0x73, 0xff},
}

// pictures draws all that can be drawn of what was measured.
func (r *report) pictures() ([]picture, error) {
	byClients := func(text string, log bool, y func(*harness.Result) *float64) func() (*plot.Plot, error) {
		return func() (*plot.Plot, error) { return r.byClients(text, log, y) }
	}
	var pictures []picture
	for _, p := range []struct {
		name, about string
		draw        func() (*plot.Plot, error)
	}{
		{"throughput", "Acquisitions per second with more and more clients that hold for 100 ms. At most 10 are possible.",
			byClients("acquisitions per second", true, func(r *harness.Result) *float64 { return r.PerSecond })},
		{"handoff", "How long it took from Unlock to the return of the next Lock: 8 clients that hold for 100 ms.", r.distribution},
		{"worst-wait", "The longest wait with more and more clients, those that still waited at the end included.",
			byClients("longest wait, s", true, func(r *harness.Result) *float64 { return seconds(r.WaitMax) })},
		{"fairness", "Jain's index of fairness with more and more clients: 1 is perfectly fair, 1/n is one of n gets everything.",
			byClients("Jain index", false, func(r *harness.Result) *float64 { return r.Jain })},
		{"requests", "Requests per acquisition, with more and more clients.", byClients("requests per acquisition", true, requests)},
		{"dollars", "US dollars for a million acquisitions, with more and more clients.",
			byClients("$ per million acquisitions", true, func(r *harness.Result) *float64 { return r.USD })},
		{"timeline-gcsync", "Who held the lock when: gcsync, 8 clients that want it for 100 ms each.",
			func() (*plot.Plot, error) { return r.timeline(ours) }},
		{"timeline-peer", "The same for the fastest peer in a bucket.", r.peerTimeline},
	} {
		drawing, err := p.draw()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if drawing == nil {
			continue
		}
		text, err := svg(drawing)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		pictures = append(pictures, picture{p.name, p.about, text})
	}
	return pictures, nil
}

func seconds(ms *float64) *float64 {
	if ms == nil {
		return nil
	}
	s := *ms / 1000
	return &s
}

func requests(r *harness.Result) *float64 {
	if r.ClassA == nil {
		return nil
	}
	sum := *r.ClassA + *r.ClassB + *r.Free
	return &sum
}

func newPlot(x, y string) *plot.Plot {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.Legend.Top, p.Legend.Padding = true, vg.Points(2)
	p.Legend.XOffs = legendWidth
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xe4}, color.Gray{0xe4}
	p.Add(grid)
	return p
}

// byClients draws a line a lock over the number of clients.
func (r *report) byClients(text string, logarithmic bool, y func(*harness.Result) *float64) (*plot.Plot, error) {
	p := newPlot("clients", text)
	drawn := 0
	for _, l := range r.locks {
		var points plotter.XYs
		for _, res := range r.sweep(l.Name()) {
			if v := y(res); v != nil && (*v > 0 || !logarithmic) {
				points = append(points, plotter.XY{X: float64(res.Procs), Y: *v})
			}
		}
		if len(points) == 0 {
			continue
		}
		drawn++
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		pen(l.Name(), &line.LineStyle)
		dots.GlyphStyle = draw.GlyphStyle{Color: colours[l.Name()], Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
		p.Add(line, dots)
		p.Legend.Add(l.Name(), line)
	}
	if drawn == 0 {
		return nil, nil
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(powersOfTwo)
	p.X.Min, p.X.Max = 1, max(2, p.X.Max)
	if logarithmic {
		logScale(&p.Y)
	} else {
		p.Y.Min, p.Y.Max = 0, 1.05
	}
	return p, nil
}

func pen(lock string, s *draw.LineStyle) {
	s.Color, s.Width = colours[lock], vg.Points(1.2)
	if lock == ours {
		s.Width = vg.Points(2.4)
	}
}

func logScale(a *plot.Axis) {
	a.Scale, a.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	a.Min, a.Max = math.Pow(10, math.Floor(math.Log10(a.Min))), math.Pow(10, math.Ceil(math.Log10(a.Max*1.01)))
}

func powersOfTwo(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for x := 1.0; x <= most && x <= 128; x *= 2 {
		if x >= least {
			ticks = append(ticks, plot.Tick{Value: x, Label: strconv.Itoa(int(x))})
		}
	}
	return ticks
}

func decades(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(least)); e <= math.Ceil(math.Log10(most)); e++ {
		x := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: x, Label: strconv.FormatFloat(x, 'f', -1, 64)})
		for m := 2.0; m < 10; m++ {
			ticks = append(ticks, plot.Tick{Value: m * x})
		}
	}
	return slices.DeleteFunc(ticks, func(t plot.Tick) bool { return t.Value < least || t.Value > most })
}

// distribution draws which part of the hand-offs took at most so long.
func (r *report) distribution() (*plot.Plot, error) {
	p := newPlot("hand-off, ms", "part of all hand-offs")
	drawn := 0
	for _, l := range r.locks {
		res := r.one("contended", l.Name())
		if res == nil || len(res.Handoffs) == 0 {
			continue
		}
		drawn++
		var points plotter.XYs
		for i, ms := range res.Handoffs {
			points = append(points, plotter.XY{X: max(ms, 1), Y: float64(i+1) / float64(len(res.Handoffs))})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.StepStyle = plotter.PostStep
		pen(l.Name(), &line.LineStyle)
		p.Add(line)
		p.Legend.Add(l.Name(), line)
	}
	if drawn == 0 {
		return nil, nil
	}
	logScale(&p.X)
	p.Y.Min, p.Y.Max = 0, 1
	return p, nil
}

// shown is how many seconds a timeline shows.
const shown = 10

func (r *report) peerTimeline() (*plot.Plot, error) {
	p := r.best("contended", speed)
	if p == nil {
		return nil, nil
	}
	return r.timeline(p.Lock)
}

// timeline draws who held the lock when.
func (r *report) timeline(lock string) (*plot.Plot, error) {
	res := r.one("contended", lock)
	if res == nil || len(res.Spans) == 0 {
		return nil, nil
	}
	p := newPlot("seconds: "+lock, "client")
	p.Legend.XOffs = 0 // there is none
	for _, s := range res.Spans {
		if s.From > shown {
			continue
		}
		y := float64(s.Player + 1)
		line, err := plotter.NewLine(plotter.XYs{{X: s.From, Y: y}, {X: min(s.To, shown), Y: y}})
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = colours[lock], vg.Points(9)
		p.Add(line)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, shown, 0.3, float64(res.Procs)+0.7
	var ticks []plot.Tick
	for i := range res.Procs {
		ticks = append(ticks, plot.Tick{Value: float64(i + 1), Label: strconv.Itoa(i + 1)})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	return p, nil
}

// svg returns the plot as an element that can stand in a page, on white, with fonts that every machine has.
func svg(p *plot.Plot) (string, error) {
	c := vgsvg.New(width, height)
	whole := draw.New(c)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	p.Draw(draw.Crop(whole, 0, -p.Legend.XOffs, 0, 0))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	text := b.String()
	if i := strings.Index(text, "<svg"); i > 0 {
		text = text[i:]
	}
	return strings.ReplaceAll(text, "font-family:Liberation Sans", "font-family:Liberation Sans,Helvetica,Arial,sans-serif"), nil
}
