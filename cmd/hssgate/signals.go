package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The
// second ends the process at once, with a shell's exit code for it: 130 or 143.
//
// signal.NotifyContext can't do that: until its stop has run, which is after the
// context ends, it takes a second signal and drops it.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	// Room for both, since what finds none is dropped.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		os.Exit(exitCodeOf(<-signals))
	}()
	return ctx
}

func exitCodeOf(s os.Signal) int {
	const shellOffset = 128
	if number, ok := s.(syscall.Signal); ok {
		return shellOffset + int(number)
	}
	return exitFailure
}
