package bench_test

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
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/webhook"
)

// serverVariable has the name and the address of the server that TestServer is.
const serverVariable = "HSSGATE_BENCH_SERVER"

// The servers that are compared.
const (
	typedServer  = "typed"   // a no-op validator of controller-runtime, which has the pod decoded
	decodeServer = "decode"  // a bare handler that decodes only the images
	gateServer   = "hssgate" // hssgate's handler, with 10 policies that match every pod and every image in memory
)

var serverNames = []string{typedServer, decodeServer, gateServer}

// TestServer is no test: the benchmark starts it as the process of a server. It ends with standard input, which closes when
// the parent dies.
func TestServer(t *testing.T) {
	name, address, wanted := strings.Cut(os.Getenv(serverVariable), " ")
	if !wanted {
		t.Skip("the benchmark starts it")
	}
	ctrl.SetLogger(logr.Discard())
	log.SetOutput(io.Discard) // net/http's
	issuer, err := certificate.NewSelfSigned(clock.RealClock{}, "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	t.Fatal(map[string]func(*testing.T, string, *certificate.Issuer) error{
		decodeServer: serveDecode, gateServer: serveGate, typedServer: serveTyped,
	}[name](t, address, issuer))
}

func serveTyped(t *testing.T, address string, issuer *certificate.Issuer) error {
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
	return s.Start(t.Context())
}

// noop admits every creation; nothing else is sent to it.
type noop struct {
	admission.Validator[*corev1.Pod]
}

// ValidateCreate admits.
func (noop) ValidateCreate(context.Context, *corev1.Pod) (admission.Warnings, error) { return nil, nil }

func serveDecode(t *testing.T, address string, issuer *certificate.Issuer) error {
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
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(decode)}
	return s.Serve(tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, GetCertificate: issuer.GetCertificate,
	}))
}

func serveGate(t *testing.T, address string, issuer *certificate.Issuer) error {
	c := newConfiguration(t, newHSS(t, knownImages).URL)
	known := newInventory(t, c)
	lookUp(t, known, 0, knownImages)
	handler := server.NewHandler(c, webhook.Options{
		Decider: newGate(t, known), Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	s, err := server.NewWebhookServer(t.Context(), address, issuer.GetCertificate, handler, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return s.Start(t.Context())
}
