package gcsync_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/gcsync/gcsync"
)

// migrator stands for a *migrate.Migrate of golang-migrate: migrate.New("file://migrations", databaseURL).
type migrator struct{ version int }

func (m *migrator) Up() error {
	m.version++
	fmt.Println("migrated to version", m.version)
	return nil
}

// Two instances of a service start at the same time. One migrates the database, the other waits for it, and then both
// serve. An instance that starts tomorrow makes one read.
func ExampleOnce() {
	ctx := context.Background()
	bucket, database := exampleBucket(), new(migrator)

	var instances sync.WaitGroup
	for range 2 {
		instances.Go(func() {
			c, err := gcsync.New(bucket, nil)
			if err != nil {
				log.Fatal(err)
			}
			defer c.Close(ctx)
			err = c.Once("migrate/v1").Do(ctx, func(context.Context) error {
				return database.Up() // of golang-migrate: errors.Is(err, migrate.ErrNoChange) is as good
			})
			if err != nil {
				log.Fatal(err)
			}
			// serve
		})
	}
	instances.Wait()
	fmt.Println("version", database.version)
	// Output:
	// migrated to version 1
	// version 1
}

// Every instance gets the value that one of them has made.
func ExampleOnceValue() {
	ctx := context.Background()
	bucket := exampleBucket()

	for _, instance := range []string{"first", "second"} {
		c, err := gcsync.New(bucket, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close(ctx)
		cluster := gcsync.OnceValue(c.Once("cluster-id"), func(context.Context) (string, error) {
			return "made by the " + instance, nil
		})
		id, err := cluster(ctx)
		fmt.Println(instance+":", id, err)
	}
	// Output:
	// first: made by the first <nil>
	// second: made by the first <nil>
}

// A cron job on two machines.
func ExampleEvery() {
	ctx := context.Background()
	bucket := exampleBucket()

	for range 2 {
		c, err := gcsync.New(bucket, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close(ctx)
		ran, err := c.Every("report", 10*365*24*time.Hour).Do(ctx, func(context.Context) error {
			fmt.Println("reporting")
			return nil
		})
		fmt.Println("ran here:", ran, err)
	}
	// Output:
	// reporting
	// ran here: true <nil>
	// ran here: false <nil>
}

// A scheduler that runs on one of the instances at a time.
func ExampleElection_Run() {
	ctx := context.Background()
	c, err := gcsync.New(exampleBucket(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	election := c.Election("scheduler")
	err = election.Run(ctx, "10.0.0.7:8080", func(ctx context.Context) error { // ctx ends with the term
		leader, err := election.Leader(ctx) // as the others see it
		fmt.Println("leading at", leader.Value, err)
		return nil // schedule until ctx ends
	})
	fmt.Println(err)

	_, err = election.Leader(ctx)
	fmt.Println(err)
	// Output:
	// leading at 10.0.0.7:8080 <nil>
	// <nil>
	// gcsync: ask for the leader of election "scheduler": no leader
}

// A leader that is known to others, and gives way when asked to.
func ExampleElection_Campaign() {
	ctx := context.Background()
	c, err := gcsync.New(exampleBucket(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)

	term, err := c.Election("scheduler").Campaign(ctx, "10.0.0.7:8080")
	if err != nil {
		log.Fatal(err)
	}
	for leader, err := range c.Election("scheduler").Observe(ctx) {
		fmt.Println(leader.Value, leader.Term == term.Number(), err)
		break
	}
	fmt.Println(term.Resign(ctx))
	// Output:
	// 10.0.0.7:8080 true <nil>
	// <nil>
}
