package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/image"
)

// TestMain lets the test's own program be the servers that it starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveArgument {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestUnknownArgumentsAreErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown letter": {"-only", "az"},
		"an unknown flag":   {"-fast"},
		"an argument":       {"everything"},
		"an unknown server": {serveArgument, "nonsense", "127.0.0.1:0"},
	} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTheMachineIsDescribed(t *testing.T) {
	got := describeMachine()
	for _, want := range []string{"machine: ", "go: go1.", "hssgate: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestEveryServerAnswersTheLoad(t *testing.T) {
	contenders, err := measureServers(context.WithoutCancel(t.Context()), 1, 100*time.Millisecond, decodeServer, gateServer, typedServer)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range contenders {
		if r := c.rounds[0]; r.p99 < r.p50 || r.p50 <= 0 || c.cpuPerReview() <= 0 {
			t.Errorf("%s: %+v, %s of a processor", c.name, r, c.cpuPerReview())
		}
	}
	if rows := throughputTable(contenders, contenders[2], contenders[0]).rows; len(rows) != 3 || rows[2][1] != "1.00" || rows[0][2] != "1.00" {
		t.Errorf("got %q", rows)
	}
}

func TestAWrongAnswerIsAnError(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		_, _ = theirs.Read(make([]byte, 100))
		_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"+`{"response":{"uid":"other","allowed":true}}`)
	}()
	c := &connection{Conn: ours, reader: bufio.NewReader(ours)}
	if err := c.exchange(&request{[]byte("POST"), []byte("uid-1")}); err == nil || !strings.Contains(err.Error(), "the answer to review uid-1") {
		t.Errorf("got %v", err)
	}
}

func TestImagesAreRemembered(t *testing.T) {
	heap, took, err := remember(t.Context(), 2000)
	if err != nil || heap < 2000*64 || heap > 2000*2048 || took <= 0 {
		t.Errorf("%d bytes in %s, %v", heap, took, err)
	}
}

func TestARolloutIsDecided(t *testing.T) {
	t.Setenv("HUAWEICLOUD_SDK_AK", "HSSTESTACCESSKEY")
	t.Setenv("HUAWEICLOUD_SDK_SK", "hsstest-secret-key")
	for name, r := range map[string]rollout{
		"cold":         {pods: 40, images: 4},
		"synchronised": {pods: 40, images: 4, synced: true},
		"one pod":      {pods: 1, images: 4},
	} {
		out, err := r.run(t.Context())
		if err != nil || len(out.waits) != r.pods || out.calls == 0 || out.calls > r.images {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

func TestReviewsAreOfTheSizeThatIsMeasured(t *testing.T) {
	images := map[string]bool{}
	for n := range distinctReviews {
		uid, body, err := newReview(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) < 5500 || len(body) > 5900 {
			t.Fatalf("the review has %d bytes, want about 5,700", len(body))
		}
		var review admissionv1.AdmissionReview
		var pod corev1.Pod
		if err := json.Unmarshal(body, &review); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(review.Request.Object.Raw, &pod); err != nil {
			t.Fatal(err)
		}
		if review.Request.UID != uid || len(pod.Spec.Containers) != 3 || len(pod.ManagedFields) != 1 {
			t.Fatalf("review %d: UID %q, %d containers, %d managedFields", n, review.Request.UID, len(pod.Spec.Containers), len(pod.ManagedFields))
		}
		for _, use := range image.InPodSpec(&pod.Spec) {
			images[use.Image] = true
		}
	}
	if len(images) != knownImages {
		t.Errorf("the reviews name %d images, want %d", len(images), knownImages)
	}
}
