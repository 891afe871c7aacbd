package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/webhook"
)

// serveArgument makes this program one of the servers that are compared.
const serveArgument = "serve"

// The servers that are compared.
const (
	decodeServer = "bare decode"
	gateServer   = "hssgate"
	typedServer  = "controller-runtime, typed no-op"
)

// serve serves one of the servers until standard input ends, which it does when the parent dies.
func serve(ctx context.Context, name, address string) error {
	run, known := map[string]func(context.Context, string, *certificate.Issuer) error{
		decodeServer: serveDecode, gateServer: serveGate, typedServer: serveTyped,
	}[name]
	if !known {
		return fmt.Errorf("unknown server %q", name)
	}
	issuer, err := certificate.NewSelfSigned(clock.RealClock{}, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	log.SetOutput(io.Discard) // net/http's
	ended := make(chan error, 2)
	go func() { ended <- run(ctx, address, issuer) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	return <-ended
}

// serveDecode serves by net/http, and decodes nothing but the images and the UID.
func serveDecode(ctx context.Context, address string, issuer *certificate.Issuer) error {
	decode := func(w http.ResponseWriter, r *http.Request) {
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
		_, _ = fmt.Fprintf(w, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":%q,"allowed":true}}`, review.Request.UID)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(decode), ReadHeaderTimeout: time.Minute}
	return s.Serve(tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: issuer.GetCertificate,
	}))
}

// serveGate serves hssgate's handler by hssgate's server, with 10 policies that match every pod, and every image in memory.
func serveGate(ctx context.Context, address string, issuer *certificate.Issuer) error {
	hss := newHSS(knownImages) //nolint:contextcheck // closing it is what ends it
	defer hss.Close()
	c, err := newConfiguration(hss.URL, "")
	if err != nil {
		return err
	}
	known, err := newInventory(c)
	if err != nil {
		return err
	}
	defer known.Close()
	for i := range knownImages {
		if err := lookUp(ctx, known, imageName(i)); err != nil {
			return err
		}
	}
	decider, err := newGate(known)
	if err != nil {
		return err
	}
	handler := server.NewHandler(c, webhook.Options{
		Decider: decider, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	s, err := server.NewWebhookServer(ctx, address, issuer.GetCertificate, handler, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Start(ctx)
}

// serveTyped does the least that a validator made with controller-runtime does: it has the pod decoded, and admits it.
func serveTyped(ctx context.Context, address string, issuer *certificate.Issuer) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	s := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion, c.NextProtos, c.GetCertificate = tls.VersionTLS13, []string{"http/1.1"}, issuer.GetCertificate
	}}})
	s.Register(server.ValidatePath, admission.WithValidator[*corev1.Pod](scheme, noop{}))
	return s.Start(ctx)
}

// noop admits every creation; nothing else is sent to it.
type noop struct {
	admission.Validator[*corev1.Pod]
}

// ValidateCreate admits.
func (noop) ValidateCreate(context.Context, *corev1.Pod) (admission.Warnings, error) { return nil, nil }
