package main

import (
	"fmt"
	"html"
	"strings"
)

// The size of a character, and of what is around the text.
const (
	wide, high = 8.0, 18.0
	pad        = 16.0
)

// svg draws the frames one after the other, each in its time; the last one stays, and is all there is to see where
// nothing moves.
func (r *recording) svg() string {
	var b strings.Builder
	width, height := columns*wide+2*pad, rows*high+2*pad
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="13">
<style>
text { fill: #d8dee9; white-space: pre }
.c { fill: #8fbcbb }
.f { visibility: hidden; animation: on 1s steps(1) }
.l { visibility: visible; animation: off 1s steps(1) }
@keyframes on { from, to { visibility: visible } }
@keyframes off { from, to { visibility: hidden } }
</style>
<rect width="100%%" height="100%%" rx="8" fill="#242933"/>
`, width, height)
	for i, f := range r.frames {
		at := f.at.Seconds()
		if i == len(r.frames)-1 {
			fmt.Fprintf(&b, "<g class=\"l\" style=\"animation-duration:%.2fs\">\n", at)
		} else {
			fmt.Fprintf(&b, "<g class=\"f\" style=\"animation-delay:%.2fs;animation-duration:%.2fs\">\n", at, r.frames[i+1].at.Seconds()-at)
		}
		for row, line := range f.lines {
			if line = strings.TrimRight(line, " "); line == "" {
				continue
			}
			class := ""
			if strings.HasPrefix(line, "$ ") {
				class = ` class="c"`
			}
			fmt.Fprintf(&b, "<text%s xml:space=\"preserve\" x=\"%.0f\" y=\"%.0f\" textLength=\"%.0f\">%s</text>\n",
				class, pad, pad+high*(float64(row)+0.75), float64(len(line))*wide, html.EscapeString(line))
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}
