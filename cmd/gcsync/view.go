package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gcsync/gcsync"
)

// view is how the state of a name is shown.
type view struct {
	json   bool
	chosen bool
}

// register adds the flag that chooses.
func (v *view) register(f *flag.FlagSet) {
	f.BoolFunc("json", "print a JSON object a line (default where the standard output is no terminal; -json=false: a table)", func(s string) error {
		on, err := strconv.ParseBool(s)
		v.json, v.chosen = on, true
		return err
	})
}

// stateJSON is the state of a name for programs.
type stateJSON struct {
	Name    string      `json:"name"`
	URL     string      `json:"url"`
	Kind    string      `json:"kind,omitempty"`
	Slots   int64       `json:"slots,omitempty"`  // of a semaphore
	Detail  string      `json:"detail,omitempty"` // of a once, an every or an election
	Holders []claimJSON `json:"holders"`
	Waiters []claimJSON `json:"waiters"` // in order
	Used    *time.Time  `json:"used,omitempty"`
	At      time.Time   `json:"at"`
}

type claimJSON struct {
	Owner   string     `json:"owner"`
	Host    string     `json:"host"`
	PID     int        `json:"pid,omitempty"`
	Token   string     `json:"token"`           // 63 bits, more than a number in JSON can be relied on for
	Slot    *int64     `json:"slot,omitempty"`  // of a semaphore; -1: it waits to gather several
	Came    time.Time  `json:"came"`            // when it queued
	Since   *time.Time `json:"since,omitempty"` // since when it holds, where that is known
	Age     *float64   `json:"age_seconds,omitempty"`
	Renewed *time.Time `json:"renewed,omitempty"`
	Lease   float64    `json:"lease_seconds"`
	Expires *time.Time `json:"expires,omitempty"`
	Left    *float64   `json:"expires_in_seconds,omitempty"`
}

func toJSON(t target, s *gcsync.State) stateJSON {
	out := stateJSON{
		Name: s.Name, URL: target{t.bucket, s.Name}.url(), Kind: s.Kind, Slots: s.Slots, Detail: s.Detail, Used: present(s.Used), At: s.At.UTC(),
		Holders: []claimJSON{}, Waiters: []claimJSON{},
	}
	for _, c := range s.Holders {
		out.Holders = append(out.Holders, claimToJSON(s, c))
	}
	for _, c := range s.Waiters {
		out.Waiters = append(out.Waiters, claimToJSON(s, c))
	}
	return out
}

func claimToJSON(s *gcsync.State, c gcsync.Claim) claimJSON {
	out := claimJSON{
		Owner: c.Owner, Host: c.Host, Token: strconv.FormatInt(c.Token, 10), Slot: slot(s, c), Came: c.Came.UTC(), Since: present(c.Since),
		Renewed: present(c.Renewed), Lease: c.Lease.Seconds(), Expires: present(c.Expires),
	}
	_, out.PID = process(c.Owner)
	if d, known := age(s, c); known {
		seconds := d.Seconds()
		out.Age = &seconds
	}
	if !c.Expires.IsZero() {
		left := c.Expires.Sub(s.At).Seconds()
		out.Left = &left
	}
	return out
}

// slot is that of a semaphore's holder or waiter; nothing else has any.
func slot(s *gcsync.State, c gcsync.Claim) *int64 {
	if s.Kind != "semaphore" {
		return nil
	}
	return &c.Slot
}

func present(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// age is for how long a holder has held, and for how long a waiter has waited. Of a holder that has not renewed yet it is not
// known. The service tells the time in whole seconds.
func age(s *gcsync.State, c gcsync.Claim) (d time.Duration, known bool) {
	from := c.Since
	if from.IsZero() && slices.Contains(s.Waiters, c) {
		from = c.Came
	}
	return max(0, s.At.Sub(from)), !from.IsZero()
}

// process splits an owner into the program and its process number, where it is of that form.
func process(owner string) (program string, pid int) {
	if i := strings.LastIndex(owner, "/"); i >= 0 {
		if n, err := strconv.Atoi(owner[i+1:]); err == nil && n > 0 {
			return owner[:i], n
		}
	}
	return owner, 0
}

// table prints states as a table: a line for each holder and waiter, or one for a name that is free.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row("NAME", "KIND", "PLACE", "OWNER", "HOST", "PID", "AGE", "EXPIRES", "TOKEN")
	return t
}

func (t *table) row(cells ...string) {
	for i := range cells {
		if cells[i] = clip(printable(cells[i]), widest); cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// widest is the most that a cell of the table takes.
const widest = 48

// clip cuts a text to a number of characters, from the middle: both ends of a name tell something.
func clip(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	tail := width / 3
	return string(runes[:width-1-tail]) + "\u2026" + string(runes[len(runes)-tail:])
}

func (t *table) add(s *gcsync.State) {
	if len(s.Holders)+len(s.Waiters) == 0 {
		last := ""
		if !s.Used.IsZero() {
			last = short(s.At.Sub(s.Used))
		}
		place := "free"
		if s.Kind == "once" && s.Detail != "" {
			place = s.Detail
		}
		t.row(s.Name, s.Kind, place, "", "", "", last, "", "")
		return
	}
	name, kind := s.Name, s.Kind
	line := func(place string, c gcsync.Claim) {
		program, pid := process(c.Owner)
		number := ""
		if pid > 0 {
			number = strconv.Itoa(pid)
		}
		lasts := "< " + short(c.Lease/3+time.Second)
		if d, known := age(s, c); known {
			lasts = short(d)
		} else if !c.Renewed.IsZero() {
			lasts = ""
		}
		t.row(name, kind, place, program, c.Host, number, lasts, expiry(c, s.At), strconv.FormatInt(c.Token, 10))
	}
	if s.Slots > 0 {
		kind = fmt.Sprintf("%s of %d", kind, s.Slots)
	}
	for _, c := range s.Holders {
		place := "holds"
		if i := slot(s, c); i != nil {
			place += fmt.Sprintf(" slot %d", *i)
		}
		line(place, c)
	}
	behind := make(map[int64]int)
	for _, c := range s.Waiters {
		behind[c.Slot]++
		place := "waits " + strconv.Itoa(behind[c.Slot])
		if i := slot(s, c); i != nil && *i >= 0 {
			place += fmt.Sprintf(" for slot %d", *i)
		} else if i != nil {
			place += " to gather"
		}
		line(place, c)
	}
}

func (t *table) flush() error { return t.w.Flush() }

func expiry(c gcsync.Claim, at time.Time) string {
	if c.Expires.IsZero() {
		return ""
	}
	if left := c.Expires.Sub(at); left > 0 {
		return "in " + short(left)
	} else {
		return short(-left) + " ago"
	}
}

// short writes a duration for people.
func short(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// show prints states as they come.
func (v *view) show(a *app, t target, states func(yield func(*gcsync.State, error) bool)) error {
	asJSON := v.json || !v.chosen && !isTerminal(a.stdout)
	encoder, tab := json.NewEncoder(a.stdout), newTable(a.stdout)
	encoder.SetEscapeHTML(false)
	for s, err := range states {
		if err != nil {
			return err
		}
		if !asJSON {
			tab.add(s)
		} else if err := encoder.Encode(toJSON(t, s)); err != nil {
			return &failure{exitService, err}
		}
	}
	if asJSON {
		return nil
	}
	if err := tab.flush(); err != nil {
		return &failure{exitService, err}
	}
	return nil
}
