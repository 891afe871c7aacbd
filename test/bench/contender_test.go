package bench_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/procfs"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// contender is asked about pods in its turns.
type contender struct {
	name string
	// manifest is what has the API server ask it; empty: nobody is asked. The others are optional, too.
	manifest, url string
	pid           int
	scanner       *hsstest.Server
	// rate and reviews are how many creates and direct reviews a second its last turn had.
	rate, reviews float64
	figures       [columns][]float64
}

// The figures of a contender, which are the columns of the table.
const (
	creates = iota
	cpu
	calls
	memory
	ready
	direct
	columns
)

// canary is the label of pods that are refused while a contender is asked, which shows that the API server does ask it.
const canary = "hssgate.io/canary"

// readContender reads a value of -contender.
func readContender(value string) (*contender, error) {
	name, file, _ := strings.Cut(value, "=")
	file, pid, ofProcess := strings.Cut(file, ",pid=")
	manifest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-contender %q: want NAME=FILE or NAME=FILE,pid=N: %w", value, err)
	}
	c, err := newContender(name, manifest)
	if err == nil && ofProcess {
		c.pid, err = strconv.Atoi(pid)
	}
	if err != nil {
		return nil, fmt.Errorf("-contender %s: %s: %w", name, file, err)
	}
	return c, nil
}

// newContender returns the contender of a webhook configuration. A copy is registered, under another name, for the
// namespace of the benchmark only, and with failurePolicy Fail, so that no pod goes unevaluated.
func newContender(name string, manifest []byte) (*contender, error) {
	in := &admissionregistrationv1.MutatingWebhookConfiguration{} // its fields include those of the other kind
	if err := yaml.UnmarshalStrict(manifest, in); err != nil {
		return nil, err
	}
	version := admissionregistrationv1.SchemeGroupVersion.String()
	kinds := []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
	switch {
	case bytes.Contains(manifest, []byte("\n---\n")):
		return nil, errors.New("has several documents, want one")
	case in.APIVersion != version || !slices.Contains(kinds, in.Kind):
		return nil, fmt.Errorf("kind: got %s %s, want one of %s %q", in.APIVersion, in.Kind, version, kinds)
	case len(in.Webhooks) == 0:
		return nil, errors.New("webhooks: got none")
	}
	client := in.Webhooks[0].ClientConfig
	probe := in.Webhooks[0].DeepCopy()
	probe.Name, probe.ClientConfig.URL, probe.ClientConfig.Service = "canary.hssgate.io", new("https://127.0.0.1:1"), nil
	probe.ObjectSelector = metav1.AddLabelToSelector(cmp.Or(probe.ObjectSelector, &metav1.LabelSelector{}), canary, "")
	in.Webhooks, in.ObjectMeta = append(in.Webhooks, *probe), metav1.ObjectMeta{Name: "hssgate-bench"}
	for i := range in.Webhooks {
		w := &in.Webhooks[i]
		if (w.ClientConfig.URL == nil) == (w.ClientConfig.Service == nil) {
			return nil, fmt.Errorf("webhooks[%d].clientConfig: want url or service", i)
		}
		if w.Name != probe.Name && !gocmp.Equal(w.ClientConfig, client) {
			return nil, fmt.Errorf("webhooks[%d].clientConfig: differs from that of webhooks[0]; keep one", i)
		}
		w.FailurePolicy = new(admissionregistrationv1.Fail)
		selector := cmp.Or(w.NamespaceSelector, &metav1.LabelSelector{})
		w.NamespaceSelector = metav1.AddLabelToSelector(selector, corev1.LabelMetadataName, namespace)
	}
	out, err := yaml.Marshal(in)
	c := &contender{name: name, manifest: string(out)}
	if client.URL != nil {
		c.url = *client.URL
	}
	return c, err
}

// newServed returns the contender that a server of ours is.
func newServed(tb testing.TB, name string, r *running) *contender {
	tb.Helper()
	c, err := newContender(name, example(tb, r))
	must(tb, err)
	c.pid, c.scanner = r.Pid, r.hss
	return c
}

// example returns the manifest by which a server is asked.
func example(tb testing.TB, r *running) []byte {
	tb.Helper()
	conn, err := dial(tb.Context(), r.address)
	must(tb, err)
	defer conn.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw})
	values := strings.NewReplacer("URL", r.url(), "CABUNDLE", base64.StdEncoding.EncodeToString(ca))
	return []byte(values.Replace(readTestdata(tb, "webhook.yaml")))
}

func (c *contender) add(column int, figure float64) {
	c.figures[column] = append(c.figures[column], figure)
}

// row returns the medians.
func (c *contender) row() string {
	row := "| " + c.name + " |"
	for column, format := range [columns]string{"%.2f", "%.2f", "%.1f", "%.0f", "%.2f s", "%.2f"} {
		median := "–"
		if sorted := slices.Sorted(slices.Values(c.figures[column])); len(sorted) > 0 {
			median = fmt.Sprintf(format, sorted[len(sorted)/2])
		}
		row += " " + median + " |"
	}
	return row + "\n"
}

// usage returns the seconds that a process has had of the processors, and its resident memory in MB.
func usage(tb testing.TB, pid int) (cpu, memory float64) {
	tb.Helper()
	if pid == 0 {
		return 0, 0
	}
	process, err := procfs.NewProc(pid)
	must(tb, err)
	stat, err := process.Stat()
	must(tb, err)
	return stat.CPUTime(), float64(stat.ResidentMemory()) / 1e6
}

func TestAWrongContenderIsAnErrorWithFileAndField(t *testing.T) {
	t.Parallel()
	const start = "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\n"
	const one = "- clientConfig: {url: https://a/1}\n"
	for name, test := range map[string]struct{ suffix, manifest, want string }{
		"no such file":      {".yml", "", "no such file"},
		"a process by name": {",pid=me", start + "webhooks:\n" + one, `parsing "me"`},
		"no YAML":           {"", "webhooks: [", "did not find expected node content"},
		"an unknown field":  {"", start + "webhooks: [{clientConf: {}}]\n", `unknown field "clientConf"`},
		"another kind":      {"", "apiVersion: v1\nkind: Pod\n", "kind: got v1 Pod, want"},
		"several documents": {"", start + "---\n" + start, "several documents"},
		"no webhooks":       {"", start, "webhooks: got none"},
		"nobody to ask":     {"", start + "webhooks: [{}]\n", "webhooks[0].clientConfig: want url or service"},
		"several URLs":      {"", start + "webhooks:\n" + one + "- clientConfig: {url: https://a/2}\n", "webhooks[1].clientConfig: differs"},
	} {
		file := filepath.Join(t.TempDir(), "webhook.yaml")
		must(t, os.WriteFile(file, []byte(test.manifest), 0o600))
		_, err := readContender("peer=" + file + test.suffix)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want the file and %q", name, err, test.want)
		}
	}
}
