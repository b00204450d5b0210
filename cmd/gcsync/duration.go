package main

import (
	"flag"
	"fmt"
	"strconv"
	"time"
)

// durationVar is FlagSet.DurationVar with an error that says what is wrong.
func durationVar(f *flag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	f.Var((*durationFlag)(p), name, usage)
}

func duration(f *flag.FlagSet, name string, value time.Duration, usage string) *time.Duration {
	p := new(time.Duration)
	durationVar(f, p, name, value, usage)
	return p
}

// durationFlag is a duration with its unit.
type durationFlag time.Duration

func (d *durationFlag) String() string { return time.Duration(*d).String() }

func (d *durationFlag) Set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil {
		if _, bare := strconv.ParseFloat(text, 64); bare == nil {
			return fmt.Errorf("it lacks a unit: %ss, or %sm", text, text)
		}
		return fmt.Errorf("no duration: write it like 90s, 10m or 1h30m")
	}
	*d = durationFlag(v)
	return nil
}
