//go:build !race

package lease_test

const manyLeases = 10_000
