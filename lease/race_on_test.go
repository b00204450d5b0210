//go:build race

package lease_test

const manyLeases = 300 // each is several times as slow here
