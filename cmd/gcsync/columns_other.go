//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd

package main

import "os"

// columns is how wide a terminal is taken to be: narrow ones are those whose lines wrap.
func columns(*os.File) int { return 80 }
