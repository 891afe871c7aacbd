package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/hssgate/hssgate/webhook"
)

// probeAPIServer creates a pod by a server-side dry run until the API server's
// answer holds hssgate's comment, which it returns.
func (f *probeFlags) probeAPIServer(ctx context.Context) (string, error) {
	cluster, err := restConfig(f.kubeconfig)
	if err != nil {
		return "", err
	}
	var said warnings
	cluster.WarningHandler = &said
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return "", fmt.Errorf("reach the cluster: %w", err)
	}
	var comment string
	err = retry(ctx, func(ctx context.Context) (again bool, err error) {
		said = nil
		_, err = client.CoreV1().Pods(f.namespace).Create(ctx, probePod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		// A policy may deny the pod: hssgate was called all the same.
		if i := slices.IndexFunc(said, webhook.IsProbeComment); i >= 0 {
			comment = said[i]
			return false, nil
		}
		return true, f.notCalled(err, said)
	})
	return comment, err
}

// notCalled explains an answer of the API server without a comment.
func (f *probeFlags) notCalled(err error, said warnings) error {
	if err != nil {
		return fmt.Errorf("cannot create a pod in namespace %q (dry run): %w", f.namespace, err)
	}
	if len(said) > 0 {
		return fmt.Errorf("hssgate does not evaluate pods of namespace %q: %s", f.namespace, strings.Join(said, "; "))
	}
	return errors.New(`the API server created the pod without calling hssgate, or could not reach it (failurePolicy Ignore hides that): ` +
		`check that namespace "` + f.namespace + `" is not exempt, that "kubectl get validatingwebhookconfiguration" lists hssgate's with a caBundle, ` +
		`and that the API server reaches the webhook: its log says "failed calling webhook" with the cause`)
}

// probePod returns a pod that Pod Security's level restricted allows.
func probePod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "hssgate-probe-"},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: webhook.ProbeImage,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

// warnings collects the warnings of one answer.
type warnings []string

// HandleWarningHeader is rest.WarningHandler's.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 {
		*w = append(*w, text)
	}
}
