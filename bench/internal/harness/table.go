package harness

import "strings"

// A Table is figures for people.
type Table struct {
	Heads []string
	Rows  [][]string
}

// Markdown returns the table as the documents show it, and nothing for one without rows.
func (t Table) Markdown() string {
	if len(t.Rows) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.Heads)
	b.WriteString("|" + strings.Repeat("---|", len(t.Heads)) + "\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}
