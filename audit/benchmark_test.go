package audit_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// crowd is an API server whose pods exist only while they are read: each as
// large as one from a chart, with managed fields.
type crowd struct {
	client.Reader
	podsEach int

	mu    sync.Mutex
	lists int
	// live is the most memory that was in use at a page.
	live uint64
}

// List pages through pods that it makes up.
func (c *crowd) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	pods, ok := list.(*corev1.PodList)
	if !ok {
		return c.Reader.List(ctx, list, opts...)
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	from, _ := strconv.Atoi(o.Continue)
	to := min(c.podsEach, from+int(o.Limit))
	*pods = corev1.PodList{}
	for n := from; n < to; n++ {
		pods.Items = append(pods.Items, crowdedPod(o.Namespace, n))
	}
	if to < c.podsEach {
		pods.Continue = strconv.Itoa(to)
	}
	c.measure()
	return nil
}

// measure looks at every 20th page, since it stops the world.
func (c *crowd) measure() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lists++; c.lists%20 != 0 {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.live = max(c.live, m.HeapAlloc)
}

func crowdedPod(namespace string, n int) corev1.Pod {
	name := fmt.Sprintf("web-%d", n)
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name),
			OwnerReferences: []metav1.OwnerReference{controller("apps/v1", "ReplicaSet", fmt.Sprintf("web-%d", n/100))},
			ManagedFields:   []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(strings.Repeat("f", 4000))}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: fmt.Sprintf("image-%d:1", n%10)}}},
	}
}

// BenchmarkAudit audits clusters of ever more pods, a tenth of which violate a
// policy. live-MB is the most memory in use: it must not follow the pods.
func BenchmarkAudit(b *testing.B) {
	for _, pods := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", pods), func(b *testing.B) {
			const namespaces = 20
			c := newCluster(b)
			for n := range namespaces - 2 { // a and b are there
				if err := c.Create(b.Context(), namespace(fmt.Sprintf("team-%d", n))); err != nil {
					b.Fatal(err)
				}
			}
			c.verdicts["image-3:1"] = c.high()
			all := &crowd{Reader: c.WithWatch, podsEach: pods / namespaces}
			c.Live = all
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Audit(b.Context(), "benchmark"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(all.live)/1e6, "live-MB")
		})
	}
}
