//go:build race

package lease_test

const manyLeases = 1_000 // each is several times as slow here
