package cluster_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// helm4 and helm3 are the names of the programs.
const (
	helm4 = "helm"
	helm3 = "helm3"
)

const chartReference = "oci://" + registry + "/charts/hssgate"

// pushChart packages the chart in a version and pushes it to the registry, as a
// release does.
func (c *cluster) pushChart(t *testing.T, version string) {
	t.Helper()
	folder := t.TempDir()
	c.helm(t, helm4, "package", root+"/charts/hssgate", "--destination", folder, "--version", version, "--app-version", "v"+version)
	c.helm(t, helm4, "push", filepath.Join(folder, "hssgate-"+version+".tgz"), strings.TrimSuffix(chartReference, "/hssgate"), "--plain-http")
}

// helm runs Helm on the node, with empty folders of its own.
func (c *cluster) helm(t *testing.T, program string, args ...string) string {
	t.Helper()
	return c.exec(t, append([]string{"env", "HOME=" + t.TempDir(), program}, args...)...)
}

// deploy runs `helm upgrade --install` from the registry, and waits.
func (c *cluster) deploy(t *testing.T, program, mode string, args ...string) {
	t.Helper()
	c.prepareNamespace(t)
	command := c.command(t.Context(), slices.Concat([]string{
		"exec", "env", "HOME=" + t.TempDir(), program, "upgrade", "--install", release, chartReference, "--plain-http",
		"--version", c.version, "--namespace", namespace, "--values", "-", "--wait", "--timeout", patience.String(),
	}, args)...)
	command.Stdin = strings.NewReader(toYAML(t, defaultValues(mode)))
	run(t, command)
}

// enforce installs hssgate in mode enforce unless it is, and waits until it
// decides.
func (c *cluster) enforce(t *testing.T) {
	t.Helper()
	c.deploy(t, helm4, "enforce")
	c.newNamespace(t, shop)
	eventually(t, func() error {
		for range 4 { // both replicas
			if err := c.enforces(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
}

// defaultValues are those that a user gives.
func defaultValues(mode string) map[string]any {
	type object = map[string]any
	return object{
		"mode":        mode,
		"policies":    object{"preset": "baseline"},
		"credentials": object{"existingSecret": "hss-keys"},
		"pin":         object{"enabled": true},
		"exemptions":  object{"namespaces": []string{"hss"}},
		"config": object{
			"projects":   []object{{"name": "main", "region": "cn-north-4", "endpoint": "https://hss.hss.svc", "caFile": "/hss-ca/ca.crt"}},
			"registries": []object{{"name": "swr", "hosts": []string{"swr.cn-north-4.myhuaweicloud.com"}}},
		},
		// The credentials carry no project ID: hssgate finds it through the simulator's IAM.
		"extraEnv":          []object{{"name": "HUAWEICLOUD_SDK_IAM_ENDPOINT", "value": "https://hss.hss.svc"}},
		"extraVolumes":      []object{{"name": "hss-ca", "configMap": object{"name": "hss-ca"}}},
		"extraVolumeMounts": []object{{"name": "hss-ca", "mountPath": "/hss-ca", "readOnly": true}},
	}
}

// prepareNamespace creates the release's namespace, under Pod Security
// "restricted", with the keys and the CA of HSS.
func (c *cluster) prepareNamespace(t *testing.T) {
	t.Helper()
	c.newNamespace(t, namespace, "pod-security.kubernetes.io/enforce=restricted")
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: namespace} }
	c.apply(t, toYAML(t, map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": meta("hss-keys"),
		"stringData": map[string]string{"access-key": accessKey, "secret-key": secretKey},
	}))
	c.apply(t, toYAML(t, map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("hss-ca"), "data": map[string]string{"ca.crt": c.hss.ca},
	}))
}
