package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	jsonv2 "github.com/go-json-experiment/json"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/server"
	"github.com/hssgate/hssgate/webhook"
)

// The servers that are compared.
const (
	// serverDiscard reads the body and answers: what HTTP and TLS cost.
	serverDiscard = "discard"
	// serverDecode reads the images out of the review and answers, no more.
	serverDecode = "decode"
	// serverGate is hssgate's handler on hssgate's server.
	serverGate = "hssgate"
	// serverTyped is a no-op of controller-runtime's own making.
	serverTyped = "typed"
)

// The answers of servers that decide nothing, around the review's UID.
const (
	answerBegins = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"`
	answerEnds   = `","allowed":true}}`
)

// serveUntilEOF serves one of the servers until stdin ends, which it does when
// the parent dies. Each line of stdin is answered with what the process used.
func serveUntilEOF(ctx context.Context, kind, address, caFile, dir string) error {
	log.SetOutput(io.Discard) // net/http's, about connections that only look whether it listens
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	authority, err := certificate.NewAuthority(clock.RealClock{}, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	if err := os.WriteFile(caFile, authority.PEM(), 0o600); err != nil { //nolint:gosec // its parent chose the file
		return fmt.Errorf("write the authority: %w", err)
	}
	serve, err := newServer(ctx, kind, address, dir, authority)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(ctx) }()
	go func() { failed <- reportUsage(os.Stdin, os.Stdout) }()
	return <-failed
}

func reportUsage(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		u, err := usageOfSelf()
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// newServer returns what serves one kind of server until its context ends.
func newServer(ctx context.Context, kind, address, dir string, authority *certificate.Authority) (func(context.Context) error, error) {
	switch kind {
	case serverDiscard:
		return bareServer(address, authority, http.HandlerFunc(discard)), nil
	case serverDecode:
		return bareServer(address, authority, http.HandlerFunc(decodeOnly)), nil
	case serverGate:
		handler, err := newWarmHandler(ctx, dir)
		if err != nil {
			return nil, err
		}
		return webhookServer(address, authority, handler)
	case serverTyped:
		handler, err := newTypedHandler()
		if err != nil {
			return nil, err
		}
		return controllerRuntimeServer(address, authority, handler)
	}
	return nil, fmt.Errorf("unknown server %q", kind)
}

// bareServer is net/http with nothing in between.
func bareServer(address string, authority *certificate.Authority, handler http.Handler) func(context.Context) error {
	return func(ctx context.Context) error {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		return s.Serve(tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: authority.GetCertificate,
		}))
	}
}

// webhookServer is the server that hssgate serves with.
func webhookServer(address string, authority *certificate.Authority, handler http.Handler) (func(context.Context) error, error) {
	s, err := server.NewWebhookServer(address, authority.GetCertificate)
	if err != nil {
		return nil, err
	}
	s.Register(server.ValidatePath, handler)
	return s.Start, nil
}

// controllerRuntimeServer is the server that most webhooks in Go serve with.
func controllerRuntimeServer(address string, authority *certificate.Authority, handler http.Handler) (func(context.Context) error, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	s := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion, c.NextProtos, c.GetCertificate = tls.VersionTLS13, []string{"http/1.1"}, authority.GetCertificate
	}}})
	s.Register(server.ValidatePath, handler)
	return s.Start, nil
}

func discard(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, answerBegins+answerEnds)
}

// decodeOnly reads what hssgate's decoder reads of an object, and the UID.
func decodeOnly(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Request struct {
			UID    string         `json:"uid"`
			Object image.Manifest `json:"object"`
		} `json:"request"`
	}
	if err := jsonv2.UnmarshalRead(r.Body, &review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answerBegins+review.Request.UID+answerEnds)
}

// newWarmHandler is hssgate's handler with 10 policies that match every pod,
// and every image in memory.
func newWarmHandler(ctx context.Context, dir string) (http.Handler, error) {
	hss := hsstest.NewServer(hsstest.WithImages(imageRows(knownImages)...)) //nolint:contextcheck // closing it is what ends it
	configuration, err := newConfiguration(hss.URL, dir)
	if err != nil {
		return nil, err
	}
	known, err := newInventory(configuration, nil)
	if err != nil {
		return nil, err
	}
	if err := warm(ctx, known, knownImages); err != nil {
		return nil, err
	}
	decider, err := newGate(known, clock.RealClock{}, 10, 0)
	if err != nil {
		return nil, err
	}
	return server.NewHandler(configuration, server.Reviews{
		Decider: decider, Metrics: webhook.NewMetrics(newRegistry()), Log: slog.New(slog.DiscardHandler),
	}), nil
}

// newTypedHandler is the least that a validator made with controller-runtime
// does: it has the pod decoded, and admits it.
func newTypedHandler() (http.Handler, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return admission.WithValidator[*corev1.Pod](scheme, noop{}), nil
}

type noop struct{}

var _ admission.Validator[*corev1.Pod] = noop{}

// ValidateCreate admits.
func (noop) ValidateCreate(context.Context, *corev1.Pod) (admission.Warnings, error) { return nil, nil }

// ValidateUpdate admits.
func (noop) ValidateUpdate(context.Context, *corev1.Pod, *corev1.Pod) (admission.Warnings, error) {
	return nil, nil
}

// ValidateDelete admits.
func (noop) ValidateDelete(context.Context, *corev1.Pod) (admission.Warnings, error) { return nil, nil }

// freeAddress returns an address on this host that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// serverURL is where the API server would ask.
func serverURL(address string) string { return "https://" + address + server.ValidatePath }

// awaitListener waits until something listens, at most a minute.
func awaitListener(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
