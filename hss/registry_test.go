package hss_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestRegistriesHaveEveryField(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1691748641788).UTC()
	client, _ := known(t, hsstest.WithRegistries(
		hsstest.Registry{ID: "r1", Name: "swr", Type: "SwrPrivate", Address: "swr.example.com", Protocol: "https", LatestSyncTime: at},
		hsstest.Registry{ID: "r2", Type: "Harbor", Status: "fail", FailReason: "SERVER_ERROR"}))
	got, err := every(client.Registries(t.Context(), hss.RegistryRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	want := []hss.Registry{
		{ID: "r1", Name: "swr", Type: hss.RegistryTypeSWRPrivate, Address: "swr.example.com", Protocol: "https",
			Status: hss.RegistryStatusSuccess, Images: new(0), LatestSyncTime: at},
		{ID: "r2", Type: hss.RegistryTypeHarbor, Status: hss.RegistryStatusFail, FailReason: "SERVER_ERROR", Images: new(0)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	got, err = every(client.Registries(t.Context(), hss.RegistryRequest{EnterpriseProjectID: "0", Name: "swr", ID: "r1", Address: "swr.example.com",
		Types: []hss.RegistryType{hss.RegistryTypeHarbor, hss.RegistryTypeSWRPrivate}, Status: hss.RegistryStatusSuccess, Limit: 10}))
	if err != nil || len(got) != 1 {
		t.Errorf("by every filter: %+v, error %v", got, err)
	}
}

// every reads all rows.
func every[T any](rows func(func(T, error) bool)) (all []T, err error) {
	for row, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, row)
	}
	return all, nil
}

func TestRegistryRequestsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request hss.RegistryRequest
		want    string
	}{
		{"a long name", hss.RegistryRequest{Name: strings.Repeat("n", 129)}, "registry_name has 129 characters"},
		{"a long id", hss.RegistryRequest{ID: strings.Repeat("n", 65)}, "registry_id has 65 characters"},
		{"a long address", hss.RegistryRequest{Address: strings.Repeat("n", 257)}, "registry_addr has 257 characters"},
		{"a type that isn't one", hss.RegistryRequest{Types: []hss.RegistryType{"Harbor", "quay"}}, `registry_type is "quay", allowed are SwrPrivate`},
		{"a type with a comma", hss.RegistryRequest{Types: []hss.RegistryType{"Harbor,Jfrog"}}, `registry_type is "Harbor,Jfrog"`},
		{"an empty type", hss.RegistryRequest{Types: []hss.RegistryType{""}}, "registry_type is missing"},
		{"a status that isn't one", hss.RegistryRequest{Status: "up"}, `status is "up", allowed are success, fail, accessing`},
		{"a small page", hss.RegistryRequest{Limit: 1}, "limit is 1, allowed are 10 to 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, server := known(t)
			_, err := every(client.Registries(t.Context(), tc.request))
			if err == nil || !strings.Contains(err.Error(), "invalid registry request: "+tc.want) || server.Stats().Requests != 0 {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestRegistriesDecodeTolerantly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, row string
		want      hss.Registry
	}{
		{"an empty row", `{}`, hss.Registry{}},
		{"an id that is a number", `{"id":7}`, hss.Registry{ID: "7"}},
		{"the type under its other name", `{"type":"Harbor"}`, hss.Registry{Type: hss.RegistryTypeHarbor}},
		{"numbers that are texts", `{"images_num":"3","latest_sync_time":"1691748641788"}`,
			hss.Registry{Images: new(3), LatestSyncTime: time.UnixMilli(1691748641788).UTC()}},
		{"numbers that are none", `{"images_num":-1,"latest_sync_time":0}`, hss.Registry{}},
		{"values and fields that are not documented", `{"status":"odd","registry_type":"Quay","color":{}}`, hss.Registry{Status: "odd", Type: "Quay"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got hss.Registry
			if err := json.Unmarshal([]byte(tc.row), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegistriesWithoutAnIDAreTold(t *testing.T) {
	t.Parallel()
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body := `{"total_num":2,"data_list":[{"registry_addr":"a"},{"registry_addr":"b"},{"registry_addr":"a","images_num":5}]}`
		if r.URL.Query().Get("offset") != "" {
			body = `{"data_list":[]}`
		}
		answer(http.StatusOK, body)(w, r)
	})
	got, err := every(newClient(t, endpoint, nil).Registries(t.Context(), hss.RegistryRequest{}))
	if err != nil || len(got) != 2 {
		t.Errorf("got %+v, error %v", got, err)
	}
}

func TestASynchronisationBringsWhatWasPushed(t *testing.T) {
	t.Parallel()
	client, _ := known(t, hsstest.WithScanTimes(0, 0, 0), hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate"}),
		hsstest.WithImages(hsstest.Image{ImageName: "app", RegistryID: "r1", RegistryType: "SwrPrivate", Hidden: true}))
	if rows, err := every(client.All(t.Context(), hss.ListRequest{})); err != nil || len(rows) != 0 {
		t.Fatalf("before: %v, error %v", rows, err)
	}
	err := client.SyncRegistries(t.Context(), hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: "r1", Type: hss.RegistryTypeSWRPrivate}}})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := every(client.All(t.Context(), hss.ListRequest{})); err != nil || len(rows) != 1 {
		t.Errorf("after: %v, error %v", rows, err)
	}
	if err := client.SyncRegistries(t.Context(), hss.SyncRequest{All: true, EnterpriseProjectID: "0"}); err != nil {
		t.Errorf("all registries: %v", err)
	}
	tasks, err := every(client.Tasks(t.Context(), hss.TaskRequest{Type: hss.TaskTypeSync}))
	if err != nil || len(tasks) != 2 || tasks[0].Origin != hss.TaskOriginManualSync || *tasks[0].Status != 100 {
		t.Errorf("the tasks are %+v, error %v", tasks, err)
	}
	err = client.SyncRegistries(t.Context(), hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: "r9", Type: hss.RegistryTypeHarbor}}})
	if refusal, ok := errors.AsType[*hss.Error](err); !ok || refusal.Code != "HSS.0011" {
		t.Errorf("another registry: %v", err)
	}
}

func TestSyncRequestsAreChecked(t *testing.T) {
	t.Parallel()
	registry := hss.SyncRegistry{ID: "r1", Type: hss.RegistryTypeHarbor}
	for _, tc := range []struct {
		name    string
		request hss.SyncRequest
		want    string
	}{
		{"nothing", hss.SyncRequest{}, "the number of registries is 0, allowed are 1 to 100"},
		{"all and some", hss.SyncRequest{All: true, Registries: []hss.SyncRegistry{registry}}, "sync_all_registries is true, and 1 registries are named"},
		{"too many", hss.SyncRequest{Registries: make([]hss.SyncRegistry, 101)}, "the number of registries is 101"},
		{"no id", hss.SyncRequest{Registries: []hss.SyncRegistry{registry, {Type: hss.RegistryTypeHarbor}}}, "registry_info[1].registry_id is missing"},
		{"a long id", hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: strings.Repeat("r", 65), Type: hss.RegistryTypeHarbor}}}, "registry_info[0].registry_id has 65"},
		{"no type", hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: "r1"}}}, "registry_info[0].registry_type is missing"},
		{"a type that isn't one", hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: "r1", Type: "quay"}}}, `registry_info[0].registry_type is "quay"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, server := known(t)
			err := client.SyncRegistries(t.Context(), tc.request)
			if err == nil || !strings.HasPrefix(err.Error(), "invalid synchronisation request: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
			if n := server.Stats().Requests; n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// TestASynchronisationIsTriedAgain shows the other rule: it costs nothing.
func TestASynchronisationIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{err: io.ErrUnexpectedEOF}, step{status: 503}, step{status: 200})
		if err := scripted(t, s, nil).SyncRegistries(t.Context(), hss.SyncRequest{All: true}); err != nil || s.asked() != 3 {
			t.Errorf("asked %d times, error %v", s.asked(), err)
		}
	})
}

func TestTasksDecodeTolerantly(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1691748641788).UTC()
	for _, tc := range []struct {
		name, row string
		want      hss.Task
		text      string // of the error
	}{
		{"an empty row", `{}`, hss.Task{}, ""},
		{"every field", `{"task_id":"t","policy_id":"p","task_name":"n","begin_time":1691748641788,"end_time":"1691748641788","remain_min":"5",
			"task_type":"cycle","image_type":"registry","task_status":100,"failed_num":1,"success_num":"2","total_num":3,"risky_num":0,"failed_reason":"f",
			"failed_images":[{"id":7,"registry_id":"r","registry_name":"rn","image_name":"i","image_version":"v","namespace":"ns","registry_type":"Harbor","failed_reason":"x"}]}`,
			hss.Task{ID: "t", PolicyID: "p", Name: "n", Origin: hss.TaskOriginCycle, ImageType: "registry", BeginTime: at, EndTime: at, Status: new(100),
				RemainingMinutes: new(5), Total: new(3), Succeeded: new(2), Failed: new(1), Risky: new(0), FailedReason: "f",
				FailedImages: []hss.FailedImage{{ID: "7", RegistryID: "r", RegistryName: "rn", RegistryType: hss.RegistryTypeHarbor, Namespace: "ns", Name: "i", Version: "v", Reason: "x"}}}, ""},
		{"a status below 0", `{"task_status":"-3"}`, hss.Task{Status: new(hss.TaskFailed)}, ""},
		{"a status that is none", `{"task_status":{},"total_num":-4}`, hss.Task{}, ""},
		{"a null for an image", `{"failed_images":[null]}`, hss.Task{}, "failed_images[0] is null, not an object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got hss.Task
			err := json.Unmarshal([]byte(tc.row), &got)
			if (err == nil) != (tc.text == "") || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("error is %v, want %q in it", err, tc.text)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTaskRequestsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request hss.TaskRequest
		want    string // empty: nothing is wrong
	}{
		{"all filters", hss.TaskRequest{Type: hss.TaskTypeScan, Origin: hss.TaskOriginManual, State: hss.TaskStateFinished, ID: "t", Limit: 10,
			EnterpriseProjectID: hss.AllGrantedEnterpriseProjects}, ""},
		{"no type", hss.TaskRequest{}, "type is missing"},
		{"a type that isn't one", hss.TaskRequest{Type: "scan"}, `type is "scan", allowed are image_scan, image_sync`},
		{"an origin that isn't one", hss.TaskRequest{Type: hss.TaskTypeScan, Origin: "me"}, `task_type is "me", allowed are cycle`},
		{"a state that isn't one", hss.TaskRequest{Type: hss.TaskTypeScan, State: "done"}, `task_status is "done"`},
		{"a long id", hss.TaskRequest{Type: hss.TaskTypeScan, ID: strings.Repeat("t", 257)}, "task_id has 257 characters"},
		{"a large page", hss.TaskRequest{Type: hss.TaskTypeScan, Limit: 500}, "limit is 500, allowed are 10 to 200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			client, _ := known(t)
			_, err := every(client.Tasks(t.Context(), tc.request))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

func FuzzDecodeRegistry(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"id":1,"registry_type":"Harbor","images_num":"3","latest_sync_time":1e12}`, `{"type":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r hss.Registry
		if err := json.Unmarshal(data, &r); err != nil && r != (hss.Registry{}) {
			t.Errorf("got %+v beside an error", r)
		}
		if r.Images != nil && *r.Images < 0 {
			t.Errorf("there are %d images", *r.Images)
		}
	})
}

func FuzzDecodeTask(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"task_id":1,"task_status":-3,"failed_images":[{"id":"7"}]}`, `{"failed_images":[null]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var task hss.Task
		if err := json.Unmarshal(data, &task); err != nil && (task.ID != "" || task.FailedImages != nil) {
			t.Errorf("got %+v beside an error", task)
		}
	})
}
