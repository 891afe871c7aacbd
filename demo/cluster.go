package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/server"
)

// controlPlaneTimeout leaves room for a slow machine.
const controlPlaneTimeout = 2 * time.Minute

// cluster is an API server with etcd, before which hssgate serves.
type cluster struct {
	kubectl kubectl
	audit   auditLog
	// stops are what to stop, in the order in which it was started.
	stops []func() error
}

// startCluster starts the API server, gives it the samples' policies and
// namespaces, and has it ask hssgate.
func startCluster(ctx context.Context, o *Options, set *sampleSet, dir string) (_ judge, err error) {
	binaries, err := filepath.Abs(o.ControlPlane)
	if err != nil {
		return nil, fmt.Errorf("find the control plane: %w", err)
	}
	c := &cluster{
		kubectl: kubectl{path: filepath.Join(binaries, "kubectl"), kubeconfig: filepath.Join(dir, "kubeconfig"), cache: filepath.Join(dir, "cache")},
		audit:   auditLog{path: filepath.Join(dir, "audit.log")},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	o.Progress("starting etcd and kube-apiserver …")
	api, err := c.startAPIServer(binaries, dir)
	if err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("creating %d namespaces and %d policies …", len(set.namespaces), len(set.policies)))
	if err := c.prepare(ctx, set); err != nil {
		return nil, err
	}
	o.Progress("starting hssgate's webhook …")
	if err := c.serve(ctx, o, set, api); err != nil {
		return nil, err
	}
	o.Progress(fmt.Sprintf("sending %d manifests with kubectl …", len(set.samples)))
	return c, nil
}

// startAPIServer starts an API server that needs no service accounts.
func (c *cluster) startAPIServer(binaries, dir string) (*envtest.Environment, error) {
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(binaries, name)); err != nil {
			return nil, fmt.Errorf("the control plane is not complete: %w", err)
		}
	}
	crds, err := customResourceDefinitions()
	if err != nil {
		return nil, err
	}
	policyFile := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policyFile, []byte(auditPolicy), 0o600); err != nil {
		return nil, fmt.Errorf("write the audit policy: %w", err)
	}
	api := &envtest.Environment{
		BinaryAssetsDirectory: binaries, CRDs: crds,
		ControlPlaneStartTimeout: controlPlaneTimeout, ControlPlaneStopTimeout: controlPlaneTimeout,
		CRDInstallOptions:  envtest.CRDInstallOptions{MaxTime: controlPlaneTimeout},
		UseExistingCluster: new(false), // whatever the environment says: never someone's cluster
	}
	api.ControlPlane.GetAPIServer().Configure().
		Set("audit-policy-file", policyFile).Set("audit-log-path", c.audit.path).Set("audit-log-mode", "blocking")
	c.stops = append(c.stops, api.Stop)
	if _, err := api.Start(); err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	if err := os.WriteFile(c.kubectl.kubeconfig, api.KubeConfig, 0o600); err != nil {
		return nil, fmt.Errorf("write kubectl's configuration: %w", err)
	}
	return api, nil
}

func customResourceDefinitions() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		return nil, err
	}
	crds := make([]*apiextensionsv1.CustomResourceDefinition, len(manifests))
	for i, manifest := range manifests {
		crds[i] = &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(manifest, crds[i]); err != nil {
			return nil, fmt.Errorf("read a CustomResourceDefinition: %w", err)
		}
	}
	return crds, nil
}

func (c *cluster) prepare(ctx context.Context, set *sampleSet) error {
	for _, namespace := range set.namespaces {
		if err := c.kubectl.create(ctx, namespace); err != nil {
			return fmt.Errorf("namespace %q: %w", namespace.GetName(), err)
		}
	}
	for _, p := range set.policies {
		if err := c.kubectl.create(ctx, p); err != nil {
			return fmt.Errorf("policy %q: %w", p.Name, err)
		}
	}
	return nil
}

// serve runs what hssgate serve runs, and waits until the API server asks it.
func (c *cluster) serve(ctx context.Context, o *Options, set *sampleSet, api *envtest.Environment) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	served := *set.config
	served.Webhook.BindAddress, served.Webhook.ConfigurationName = address, configurationName
	served.HealthBindAddress, served.MetricsBindAddress = "0", "0"
	gate := &server.Server{Config: &served, Cluster: api.Config, Log: o.Log, UserAgent: o.UserAgent}
	ended := make(chan error, 1)
	_, stop := inBackground(ctx, func(ctx context.Context) error {
		err := gate.Run(ctx)
		ended <- err
		return err
	})
	c.stops = append(c.stops, stop)
	if err := c.kubectl.create(ctx, webhookConfiguration(address)); err != nil {
		return err
	}
	return c.waitUntilAsked(ctx, ended)
}

// waitUntilAsked sends a policy that only the webhook can refuse, until it is
// refused: then the API server asks the webhook and trusts its certificate.
func (c *cluster) waitUntilAsked(ctx context.Context, ended <-chan error) error {
	probe, err := yaml.Marshal(invalidPolicy())
	if err != nil {
		return fmt.Errorf("write the probe: %w", err)
	}
	last := "it was not asked"
	asked := func(ctx context.Context) (bool, error) {
		select {
		case err := <-ended:
			return false, fmt.Errorf("it ended: %w", err)
		default:
		}
		out := c.kubectl.run(ctx, probe, "create", "--dry-run=server", "-f", "-")
		if ctx.Err() == nil {
			last = out.stderr
		}
		return out.err != nil && strings.Contains(out.stderr, probeName+`" is invalid`), nil
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true, asked); err != nil {
		return fmt.Errorf("start hssgate's webhook: %w; at last: %s", err, last)
	}
	return nil
}

const probeName = "hssgate-demo-probe"

// invalidPolicy has an expression that no schema can judge.
func invalidPolicy() *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: probeName},
		Spec:       v1alpha1.ImageScanPolicySpec{Require: v1alpha1.Requirements{Expressions: []v1alpha1.Expression{{Expression: "image."}}}},
	}
}

// judge has kubectl send a sample.
func (c *cluster) judge(ctx context.Context, s *sample) (answer, error) {
	out, err := c.kubectl.send(ctx, s)
	if err != nil {
		return answer{}, err
	}
	a := out.answer()
	if a.verdict == Failed {
		return a, nil
	}
	a.annotations, err = c.audit.annotations(ctx, s)
	return a, err
}

// close stops what was started, the youngest first.
func (c *cluster) close() error {
	var errs []error
	for _, stop := range slices.Backward(c.stops) {
		errs = append(errs, stop())
	}
	c.stops = nil
	return errors.Join(errs...)
}
