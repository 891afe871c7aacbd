package bench_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

const (
	// connections is how many the load is spread over.
	connections = 16
	// distinctReviews is how many reviews a load is made of. They differ in what real ones differ in, and fit into a
	// processor's cache no better.
	distinctReviews = 256
)

// BenchmarkReview measures reviews over TLS 1.3 and HTTP/1.1 with keep-alive, which is what the API server speaks to
// Services. Each server is a process with one processor, which the load keeps busy: so a review's time is what it takes of a
// processor. Run with -cpu 1, the load leaves the other processor to the server. Ratios are those of one run of all,
// since what else runs on the machine slows both sides of a ratio.
func BenchmarkReview(b *testing.B) {
	perReview := map[string]time.Duration{}
	for _, name := range serverNames {
		r := startServer(b, name, oneProcessor()...)
		idle := connect(b, r.url()) // not before: servers close connections on which no request begins for 10 s
		b.Run("server="+name, func(b *testing.B) {
			var mutex sync.Mutex
			var took []time.Duration
			b.SetParallelism(connections)
			b.RunParallel(func(pb *testing.PB) {
				c := <-idle
				defer func() { idle <- c }()
				var mine []time.Duration
				for pb.Next() {
					begun := time.Now()
					if err := c.exchange(); err != nil {
						b.Error(err)
						return
					}
					mine = append(mine, time.Since(begun))
				}
				mutex.Lock()
				defer mutex.Unlock()
				took = append(took, mine...)
			})
			if b.Failed() {
				return
			}
			slices.Sort(took)
			perReview[name] = b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reviews/s")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			if name == gateServer {
				b.ReportMetric(float64(perReview[typedServer])/float64(perReview[name]), "×typed")
				b.ReportMetric(float64(perReview[decodeServer])/float64(perReview[name]), "×decode")
			}
		})
	}
}

// TestReview takes the benchmark's code through one review per server and connection.
func TestReview(t *testing.T) {
	for _, name := range serverNames {
		idle := connect(t, startServer(t, name).url())
		for range connections {
			if err := (<-idle).exchange(); err != nil {
				t.Errorf("server %s: %v", name, err)
			}
		}
	}
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect opens all connections to a server, for reviews at a URL.
func connect(tb testing.TB, to string) chan *connection {
	tb.Helper()
	target, err := url.Parse(to)
	must(tb, err)
	requests, idle := newRequests(tb, target), make(chan *connection, connections)
	for i := range connections {
		conn, err := dial(tb.Context(), net.JoinHostPort(target.Hostname(), cmp.Or(target.Port(), "443")))
		must(tb, err)
		tb.Cleanup(func() { _ = conn.Close() })
		idle <- &connection{
			Conn: conn, reader: bufio.NewReader(conn), requests: requests, next: i * distinctReviews / connections,
		}
	}
	return idle
}

func dial(ctx context.Context, address string) (*tls.Conn, error) {
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: true,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// connection is a keep-alive connection. It writes requests that were made ahead, since an HTTP client would cost more than
// the servers.
type connection struct {
	net.Conn

	reader   *bufio.Reader
	requests []request
	next     int
}

// request is a whole HTTP request, and the UID that must be in its answer.
type request struct{ bytes, uid []byte }

// exchange sends a review, which must be allowed.
func (c *connection) exchange() error {
	r := &c.requests[c.next%len(c.requests)]
	c.next++
	if _, err := c.Write(r.bytes); err != nil {
		return fmt.Errorf("send a review: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if !bytes.Contains(body, []byte(`"allowed":true`)) || !bytes.Contains(body, r.uid) {
		return fmt.Errorf("the answer to review %s is %s: %s", r.uid, response.Status, body)
	}
	return nil
}

// newRequests returns all reviews with the headers that the API server sends.
func newRequests(tb testing.TB, to *url.URL) (requests []request) {
	tb.Helper()
	pod, query := readPod(tb), to.Query()
	query.Set("timeout", "10s")
	for n := range distinctReviews {
		uid := fmt.Sprintf("0f5f4a2e-4c2b-4d7e-9a3b-%012d", n)
		body := newReview(tb, newPod(pod, n), types.UID(uid))
		head := fmt.Sprintf("POST %s?%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kube-apiserver-admission\r\n"+
			"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
			to.EscapedPath(), query.Encode(), to.Host, len(body))
		requests = append(requests, request{append([]byte(head), body...), []byte(uid)})
	}
	return requests
}

//go:embed testdata
var testdata embed.FS

func readTestdata(tb testing.TB, name string) string {
	tb.Helper()
	data, err := testdata.ReadFile("testdata/" + name)
	must(tb, err)
	return string(data)
}

func readPod(tb testing.TB) *corev1.Pod {
	tb.Helper()
	pod := &corev1.Pod{}
	must(tb, yaml.UnmarshalStrict([]byte(readTestdata(tb, "pod.yaml")), pod))
	return pod
}

// newPod returns the n-th pod of a kind. Each of its three containers has another one of the known images.
func newPod(like *corev1.Pod, n int) *corev1.Pod {
	pod := like.DeepCopy()
	pod.Name = fmt.Sprintf("web-7d4b9c6f5d-%05d", n)
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Image = imageName((3*n + i) % knownImages)
	}
	return pod
}

// newReview returns the creation of a pod as the API server sends it.
func newReview(tb testing.TB, pod *corev1.Pod, uid types.UID) []byte {
	tb.Helper()
	object, err := json.Marshal(pod)
	must(tb, err)
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid, Kind: kind, Resource: resource, RequestKind: &kind, RequestResource: &resource,
			Name: pod.Name, Namespace: pod.Namespace, Operation: admissionv1.Create,
			UserInfo: authenticationv1.UserInfo{
				Username: "system:serviceaccount:kube-system:replicaset-controller",
				UID:      "5a0c3d1e-8b7f-4f57-a1c7-2d1f6f3e9b8a",
				Groups:   strings.Fields("system:serviceaccounts system:serviceaccounts:kube-system system:authenticated"),
			},
			Object:  apiruntime.RawExtension{Raw: object},
			DryRun:  new(false),
			Options: apiruntime.RawExtension{Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)},
		},
	})
	must(tb, err)
	return body
}
