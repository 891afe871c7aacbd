package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/internal/server"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// TestCluster sends the samples through a real API server, for which hssgate runs, and prints the table:
// `make demo CLUSTER=1`.
func TestCluster(t *testing.T) {
	set, err := loadSamples(t.Context(), "config/samples")
	must(t, err)
	without, err := set.results(t.Context(), set.newWebhook)
	must(t, err)
	got, err := set.results(t.Context(), func(*inventory.Inventory) sender { return set.newCluster(t).send })
	must(t, err)
	table, unexpected := show(got)
	if _, err := os.Stdout.WriteString(table); err != nil || unexpected != nil {
		t.Error(unexpected, err)
	}
	for i, want := range without {
		if diff := gocmp.Diff(want.answer, got[i].answer, gocmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s (-without +with an API server):\n%s", want.title(), diff)
		}
	}
}

// webhooks has the API server call hssgate at ADDRESS, which fills in the caBundle.
const webhooks = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hssgate-demo}
webhooks:
- name: images.hssgate.io
  clientConfig: {url: https://ADDRESS/validate}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: ["", apps, batch], apiVersions: ["*"], resources: [pods, pods/ephemeralcontainers, deployments]}
  <<: &all {failurePolicy: Fail, sideEffects: None, timeoutSeconds: 30, admissionReviewVersions: [v1]}
- name: policies.hssgate.io
  clientConfig: {url: https://ADDRESS/validate-policy}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [hssgate.io], apiVersions: ["*"], resources: [imagescanpolicies]}
  <<: *all
`

// cluster is a real API server, for which hssgate runs.
type cluster struct {
	client   client.Client
	warnings []string
}

// HandleWarningHeader is rest.WarningHandler's: it collects the warnings of a request.
func (c *cluster) HandleWarningHeader(_ int, _, text string) { c.warnings = append(c.warnings, text) }

// newCluster starts an API server with the samples' namespaces and policies, and hssgate, and waits until one calls the other.
func (s *sampleSet) newCluster(t *testing.T) *cluster {
	t.Helper()
	environment := controlplanetest.Start(t)
	s.config.Webhook.BindAddress, s.config.Webhook.ConfigurationName = controlplanetest.FreeAddresses(t, 1)[0], "hssgate-demo"
	s.config.HealthBindAddress, s.config.MetricsBindAddress, s.config.Audit.Enabled = "127.0.0.1:0", "0", false
	gate := &server.Server{Config: s.config, Cluster: environment.Config, Log: slog.New(slog.DiscardHandler), UserAgent: "hssgate-demo"}
	ended := make(chan error, 1)
	go func() { ended <- gate.Run(t.Context()) }() // it ends when the test does
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c := &cluster{}
	access := rest.CopyConfig(environment.Config)
	access.WarningHandler = c
	scheme := runtime.NewScheme()
	must(t, v1alpha1.AddToScheme(scheme))
	var err error
	c.client, err = client.New(access, client.Options{Scheme: scheme})
	must(t, err)
	configuration, err := readObjects([]byte(strings.ReplaceAll(webhooks, "ADDRESS", s.config.Webhook.BindAddress)))
	must(t, err)
	for _, o := range append(s.setup, client.Object(configuration[0])) {
		if err := c.client.Create(t.Context(), o); err != nil {
			t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
	// No schema refuses this policy, only hssgate's webhook does.
	invalid := &v1alpha1.ImageScanPolicy{}
	invalid.Name, invalid.Spec.Require.Expressions = "probe", []v1alpha1.Expression{{Expression: "image."}}
	refused := func(ctx context.Context) (bool, error) {
		err = c.client.Create(ctx, invalid.DeepCopy(), client.DryRunAll)
		if !apierrors.IsInvalid(err) {
			return false, nil
		}
		for _, one := range s.samples { // denied while the policies and exceptions are not read
			if err = nil; one.old == nil && (one.expected == report.Admitted || one.expected == report.Warned) {
				err = c.client.Create(ctx, one.object.DeepCopy(), client.DryRunAll)
			}
			if err != nil {
				return false, nil //nolint:nilerr // it is tried again
			}
		}
		return true, nil
	}
	if waitErr := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 5*time.Minute, true, refused); waitErr != nil {
		t.Fatalf("wait until the API server calls hssgate: %v; its last answer: %v", waitErr, err)
	}
	return c
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

// answer returns the answer that is the outcome of a request; what is refused by something else than hssgate is an error.
func (c *cluster) answer(err error) (answer, error) {
	if err == nil {
		return newAnswer(c.warnings), nil
	}
	if _, message, found := strings.Cut(err.Error(), `admission webhook "images.hssgate.io" denied the request: `); found {
		return answer{report.Denied, message, c.warnings}, nil
	}
	return answer{}, fmt.Errorf("no answer of hssgate: %w", err)
}
