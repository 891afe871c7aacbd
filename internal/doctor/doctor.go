// Package doctor examines an HSS project with a few calls that only read: whether hssgate can use it, and how HSS behaves where its
// documentation leaves that open. It keeps nothing, and changes nothing.
package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/replay"
	"github.com/hssgate/hssgate/internal/inventory"
)

// Options say how a run is made.
type Options struct {
	Config *config.Configuration
	// Version is that of hssgate.
	Version string
	// Progress is called before each request. It is optional.
	Progress func(made int, doing string)
	// Record keeps an anonymised record.
	Record bool
}

// Run examines the projects of a configuration. An error is one of the configuration: what HSS answers is in the report. The record is
// nil unless it was requested.
func Run(ctx context.Context, o Options) (*Report, *replay.Record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("doctor ends after %s", maxTime))
	defer cancel()
	r := &Report{Version: o.Version, Time: time.Now().UTC()}
	sessions, room := map[string]*session{}, 0
	if o.Record {
		room = maxKept
	}
	clients, err := inventory.NewClients(o.Config, "hssgate/"+o.Version, func(name string, base http.RoundTripper) http.RoundTripper {
		s := &session{config: o.Config, wire: wire{base: base, most: maxCalls / len(o.Config.Projects), room: room}}
		s.wire.sent = func() {
			if o.Progress != nil {
				o.Progress(r.Calls+int(s.wire.calls.Load()), name+": "+s.doing)
			}
		}
		sessions[name] = s
		return &s.wire
	})
	if err != nil {
		return nil, nil, err
	}
	var exchanges []replay.Exchange
	var shortened []string
	for n := range o.Config.Projects {
		p := &o.Config.Projects[n]
		s := sessions[p.Name]
		s.project = p
		s.client, _ = clients[p.Name].(*hss.Client) // a test would notice
		r.Projects = append(r.Projects, s.run(ctx))
		r.Calls += int(s.wire.calls.Load())
		exchanges, shortened = append(exchanges, s.wire.kept...), append(shortened, s.shortened...)
	}
	r.Seconds = time.Since(r.Time).Round(100 * time.Millisecond).Seconds()
	if !o.Record {
		return r, nil, nil
	}
	record := newRecord(exchanges, shortened, []byte(rand.Text()), r.Time)
	record.Hssgate = o.Version
	return r, record, nil
}
