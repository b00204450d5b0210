package main

import "os"

// host is this machine's name, as the library writes it into the bucket.
func host() string {
	name, _ := os.Hostname() // for people; an empty one says as much as an error would
	return name
}
