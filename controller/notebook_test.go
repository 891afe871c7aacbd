package controller_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/controller"
)

func newNotebook(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *controller.Notebook {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
	return &controller.Notebook{Live: c, Client: c, Name: client.ObjectKey{Namespace: "hssgate-system", Name: "hssgate-scans"}}
}

func emptyNotebook() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "hssgate-system", Name: "hssgate-scans", Labels: map[string]string{"a": "b"}}}
}

func TestANotebookIsWrittenByWhoHasReadIt(t *testing.T) {
	t.Parallel()
	n := newNotebook(t, interceptor.Funcs{}, emptyNotebook())
	var taken sync.Map
	var wg sync.WaitGroup
	for i := range 8 { // as many replicas as anybody has
		wg.Go(func() {
			mine := false
			err := n.Change(t.Context(), func(entries map[string]string) bool {
				_, held := entries["claim"]
				mine = !held
				entries["claim"] = fmt.Sprint(i)
				return mine
			})
			if err != nil {
				t.Error(err)
			}
			if mine {
				taken.Store(i, true)
			}
		})
	}
	wg.Wait()
	winners := 0
	taken.Range(func(any, any) bool { winners++; return true })
	if winners != 1 {
		t.Errorf("%d took one claim", winners)
	}
	var kept corev1.ConfigMap
	if err := n.Live.Get(t.Context(), n.Name, &kept); err != nil || kept.Labels["a"] != "b" || len(kept.Data) != 1 {
		t.Errorf("kept is %+v, error %v", kept, err)
	}
}

func TestANotebookThatIsOnlyReadIsNotWritten(t *testing.T) {
	t.Parallel()
	n := newNotebook(t, interceptor.Funcs{Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error {
		return errors.New("it is written")
	}}, emptyNotebook())
	if err := n.Change(t.Context(), func(map[string]string) bool { return false }); err != nil {
		t.Error(err)
	}
}

func TestANotebookMustBeThere(t *testing.T) {
	t.Parallel()
	n := newNotebook(t, interceptor.Funcs{})
	err := n.Change(t.Context(), func(map[string]string) bool { return true })
	if !apierrors.IsNotFound(err) || !strings.HasPrefix(err.Error(), "ConfigMap hssgate-system/hssgate-scans: ") {
		t.Errorf("error is %v", err)
	}
}
