package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// cluster is a real API server with its etcd, on this machine. Nothing runs
// its pods.
type cluster struct {
	server     *envtest.Environment
	kubeconfig string
	client     kubernetes.Interface
	// policies reads and writes ImageScanPolicies.
	policies client.Client
}

// startCluster starts one with hssgate's CustomResourceDefinitions.
func (b *bench) startCluster() (*cluster, error) {
	assets := b.assets()
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); err != nil {
		return nil, fmt.Errorf("the control plane isn't built: run make controlplane: %w", err)
	}
	c := &cluster{server: &envtest.Environment{
		BinaryAssetsDirectory: assets, ErrorIfCRDPathMissing: true, ControlPlaneStartTimeout: startTimeout,
		CRDDirectoryPaths: []string{filepath.Join(b.root, "charts", "hssgate", "files", "crds")},
	}}
	access, err := c.server.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane: %w", err), c.server.Stop())
	}
	if err := c.connect(b, access); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *cluster) connect(b *bench, access *rest.Config) error {
	dir, err := b.newDir("cluster")
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(c.kubeconfig, c.server.KubeConfig, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	// The client's own limit is meant for controllers.
	access.QPS = -1
	if c.policies, err = client.New(access, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	fast := rest.CopyConfig(access)
	fast.ContentType = runtime.ContentTypeProtobuf
	c.client, err = kubernetes.NewForConfig(fast)
	return err
}

// assets is the folder of the control plane.
func (b *bench) assets() string {
	return cmp.Or(os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join(b.root, ".cache", "controlplane", "bin"))
}

// apiServer is the API server's version, or that there's none.
func (b *bench) apiServer() string {
	out, err := exec.Command(filepath.Join(b.assets(), "kube-apiserver"), "--version").Output() //nolint:gosec,noctx // it only prints
	if err != nil {
		return "none"
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) stop() error { return c.server.Stop() }

func (c *cluster) createNamespace(ctx context.Context, name string) error {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Namespaces().Create(ctx, n, metav1.CreateOptions{})
	return err
}

// createPolicies creates policies that all judge every pod of one namespace.
func (c *cluster) createPolicies(ctx context.Context, n int, in string) error {
	for i := range n {
		spec := policySpec()
		spec.Match.NamespaceSelector = selector(corev1.LabelMetadataName, in)
		if err := c.policies.Create(ctx, newPolicy(fmt.Sprintf("policy-%04d", i), spec)); err != nil {
			return err
		}
	}
	return nil
}

// installWebhook has the API server ask a webhook about the creation of pods in
// one namespace.
func (c *cluster) installWebhook(ctx context.Context, name, url, caFile, in string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return fmt.Errorf("read the authority of %s: %w", name, err)
	}
	fail, none, timeout := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, int32(10)
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: name + ".bench.hssgate.io", FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			NamespaceSelector: selector(corev1.LabelMetadataName, in),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	_, err = c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, configuration, metav1.CreateOptions{})
	return err
}
