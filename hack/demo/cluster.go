package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	startTimeout = 5 * time.Minute // for slow machines
	// failed is the verdict about a sample that is refused by something else than hssgate. No sample expects it.
	failed report.Verdict = "Failed"
)

// webhooks is a ValidatingWebhookConfiguration named hssgate-demo.
//
//go:embed webhooks.yaml
var webhooks string

// cluster is a real API server, for which hssgate runs.
type cluster struct {
	client   client.Client
	warnings []string
}

// HandleWarningHeader is rest.WarningHandler's: it collects the warnings of a request.
func (c *cluster) HandleWarningHeader(_ int, _, text string) { c.warnings = append(c.warnings, text) }

// withCluster starts an API server with the samples' namespaces and policies, and hssgate, for as long as use takes.
func (s *sampleSet) withCluster(ctx context.Context, controlPlane string, use func(sender) error) (err error) {
	binaries, err := filepath.Abs(controlPlane)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(binaries, "kube-apiserver")); err != nil { // envtest finds it elsewhere, too
		return fmt.Errorf("find the control plane (make controlplane builds it): %w", err)
	}
	log.SetLogger(logr.Discard()) // of envtest, which says nothing of use here
	environment := &envtest.Environment{
		BinaryAssetsDirectory: binaries, CRDDirectoryPaths: []string{"charts/hssgate/files/crds"}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: startTimeout, ControlPlaneStopTimeout: startTimeout, CRDInstallOptions: envtest.CRDInstallOptions{MaxTime: startTimeout},
		UseExistingCluster: new(false), // whatever the environment says: never someone's cluster
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	access, err := environment.Start()
	if err != nil {
		return fmt.Errorf("start the API server: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		return err
	}
	if err := listener.Close(); err != nil {
		return err
	}
	s.config.Webhook.BindAddress, s.config.Webhook.ConfigurationName = listener.Addr().String(), "hssgate-demo"
	s.config.HealthBindAddress, s.config.MetricsBindAddress, s.config.Audit.Enabled = "127.0.0.1:0", "0", false
	gate := &server.Server{Config: s.config, Cluster: environment.Config, Log: slog.New(slog.DiscardHandler), UserAgent: "hssgate-demo"}
	gateCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gate.Run(gateCtx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	c := &cluster{}
	access.WarningHandler = c
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	if c.client, err = client.New(access, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if err := s.prepare(ctx, c.client); err != nil {
		return err
	}
	return use(c.send)
}

// prepare creates the namespaces, the policies and the webhook configuration, and waits until the API server calls
// hssgate and trusts its certificate.
func (s *sampleSet) prepare(ctx context.Context, c client.Client) error {
	configuration, err := readObjects([]byte(strings.ReplaceAll(webhooks, "ADDRESS", s.config.Webhook.BindAddress)))
	if err != nil {
		return err
	}
	for _, o := range append(s.setup, client.Object(configuration[0])) {
		if err := c.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	// No schema refuses this policy, only hssgate's webhook does.
	invalid := &v1alpha1.ImageScanPolicy{}
	invalid.Name, invalid.Spec.Require.Expressions = "probe", []v1alpha1.Expression{{Expression: "image."}}
	refused := func(ctx context.Context) (bool, error) {
		err = c.Create(ctx, invalid.DeepCopy(), client.DryRunAll)
		return apierrors.IsInvalid(err), nil
	}
	if waitErr := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, refused); waitErr != nil {
		return fmt.Errorf("wait until the API server calls hssgate: %w; its last answer: %w", waitErr, err)
	}
	return nil
}

// send creates or updates the object of a sample.
func (c *cluster) send(ctx context.Context, s *sample) (a answer, err error) {
	c.warnings = nil
	if s.debugs() { // as kubectl debug does
		containers, _, _ := unstructured.NestedSlice(s.object.Object, "spec", "ephemeralContainers")
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": containers}})
		if err != nil {
			return a, err
		}
		err = c.client.SubResource("ephemeralcontainers").Patch(ctx, s.object.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, patch))
		return c.answer(err)
	}
	return c.answer(c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(s.object.DeepCopy()), client.FieldOwner("demo")))
}

// answer returns the answer that is the outcome of a request.
func (c *cluster) answer(err error) (answer, error) {
	if err == nil {
		return newAnswer(c.warnings), nil
	}
	if apierrors.ReasonForError(err) == "" { // no answer of the API server
		return answer{}, err
	}
	if _, message, found := strings.Cut(err.Error(), `admission webhook "images.hssgate.io" denied the request: `); found {
		return answer{report.Denied, message, c.warnings}, nil
	}
	return answer{failed, err.Error(), c.warnings}, nil
}
