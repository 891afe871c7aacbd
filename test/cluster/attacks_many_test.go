package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testManyImages creates pods with many made-up images in one namespace, three
// with 1,000 and three with 60 a minute, while pods with good and bad images that
// hssgate has not looked up before are created in another, for a minute.
func testManyImages(t *testing.T, c *cluster) {
	const pods, badOneIn = 252, 21
	c.enforce(t)
	c.newNamespace(t, evil)
	c.scale(t, 1) // so that all meet
	defer c.scale(t, 2)
	defer c.hss.forget()
	rows := make([]imageRow, pods)
	for n := range rows {
		rows[n] = newImageRow(fmt.Sprintf("uncached-%d", n), fmt.Sprintf("sha256:%064x", n+1))
		if n%badOneIn == 0 {
			rows[n].MaliciousFileNum = 1
		}
	}
	c.hss.know(t, rows...)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sending := context.WithoutCancel(ctx)
	var attacks sync.WaitGroup
	attacks.Go(func() {
		pace(ctx, 3.0/60, 10, func(n int) { c.checkManyDenied(sending, t, n) })
	})
	var mu sync.Mutex
	wrong := map[bool][]error{}
	pace(ctx, 4, 8, func(n int) {
		if n >= pods {
			stop()
			return
		}
		bad := rows[n].MaliciousFileNum > 0
		if err := c.answersRow(sending, rows[n]); err != nil {
			mu.Lock()
			defer mu.Unlock()
			wrong[bad] = append(wrong[bad], err)
		}
	})
	attacks.Wait()
	t.Logf("%d of %d good pods denied, %d of %d bad ones not denied for what HSS found", len(wrong[false]), pods-pods/badOneIn, len(wrong[true]), pods/badOneIn)
	for bad, errs := range wrong {
		t.Errorf("bad: %t: %d wrong answers, such as %v", bad, len(errs), errs[0])
	}
}

// scale waits until hssgate has a number of replicas. The chart has two.
func (c *cluster) scale(t *testing.T, replicas int) {
	t.Helper()
	c.kubectl(t, "-n", namespace, "scale", "deployment/"+release, fmt.Sprintf("--replicas=%d", replicas))
	c.kubectl(t, "-n", namespace, "wait", "--for=jsonpath={.status.terminatingReplicas}=0", "deployment/"+release, "--timeout", patience.String())
	c.kubectl(t, "-n", namespace, "rollout", "status", "deployment/"+release, "--timeout", patience.String())
}

// checkManyDenied creates the attacker's n-th pods: with 1,000 images, which
// are too many, and with 60.
func (c *cluster) checkManyDenied(ctx context.Context, t *testing.T, n int) {
	var both sync.WaitGroup
	defer both.Wait()
	for _, images := range []int{1000, 60} {
		both.Go(func() {
			pod := newPod("many", "")
			pod.Spec.Containers = make([]corev1.Container, images)
			for i := range images {
				pod.Spec.Containers[i] = newContainer(fmt.Sprintf("c-%d", i), fmt.Sprintf("swr.cn-north-4.myhuaweicloud.com/evil/made-up-%d-%d-%d:1", n, images, i))
			}
			_, err := c.client.CoreV1().Pods(evil).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if images > 100 && !isDenial(err) {
				t.Errorf("a pod with %d images: got %v, want a denial", images, err)
			}
		})
	}
}

// answersRow returns nil if a pod gets the answer that HSS's row is a reason for.
func (c *cluster) answersRow(ctx context.Context, row imageRow) error {
	err := c.review(ctx, fmt.Sprintf("swr.cn-north-4.myhuaweicloud.com/%s/%s:%s", row.Namespace, row.ImageName, row.ImageVersion))
	switch {
	case row.MaliciousFileNum == 0:
		return err
	case err == nil:
		return fmt.Errorf("a pod with %s, in which HSS found malware, is admitted", row.ImageName)
	case !isDenial(err) || !strings.Contains(err.Error(), "malicious"):
		return err
	}
	return nil
}
