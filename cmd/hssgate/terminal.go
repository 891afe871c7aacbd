package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// terminal is what is known of where output goes.
type terminal struct {
	// isTerminal is false for files and pipes.
	isTerminal bool
	// width is in columns; 0: unknown.
	width int
	// colour says whether colours are wanted: on terminals only, and not by who
	// sets NO_COLOR (no-color.org).
	colour bool
}

func terminalOf(w io.Writer) terminal {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return terminal{}
	}
	t := terminal{isTerminal: true, colour: os.Getenv("NO_COLOR") == "" && !strings.EqualFold(os.Getenv("TERM"), "dumb")}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil {
		t.width = width
	}
	return t
}

// counter shows on a terminal how far a long run has come, on a line that it
// wipes in the end.
type counter struct {
	w     io.Writer
	now   func() time.Time
	what  string
	begun time.Time
	shown time.Time
}

// The first line is shown after a while, the next ones now and then.
const (
	patience = time.Second
	interval = 200 * time.Millisecond
)

func newCounter(w io.Writer, what string) *counter {
	return &counter{w: w, now: time.Now, what: what, begun: time.Now()}
}

func (c *counter) show(done int) {
	now := c.now()
	if now.Sub(c.begun) < patience || now.Sub(c.shown) < interval {
		return
	}
	c.shown = now
	fmt.Fprintf(c.w, "\r%d %s …", done, c.what)
}

func (c *counter) wipe() {
	if !c.shown.IsZero() {
		fmt.Fprint(c.w, "\r\x1b[K")
	}
}
