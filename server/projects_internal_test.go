package server

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
)

func TestTheStartLogsWhatHSSAnswers(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		ctx   context.Context
		check inventory.ProjectCheck
		want  string
	}{
		"a project that answers": {t.Context(), inventory.ProjectCheck{Project: "bj4", Region: "cn-north-4", ProjectID: "p1", Images: 7},
			"level=INFO msg=\"HSS answers\" project=bj4 region=cn-north-4 projectID=p1 images=7\n"},
		"a project that fails": {t.Context(), inventory.ProjectCheck{Project: "bj4", Region: "cn-north-4", Err: errors.New("long"), Cause: "no credentials found"},
			"level=WARN msg=\"HSS cannot be used\" project=bj4 region=cn-north-4 projectID=\"\" cause=\"no credentials found\"\n"},
		"refused credentials, which have a line of their own": {t.Context(),
			inventory.ProjectCheck{Project: "bj4", Err: &hss.RefusedError{Err: &hss.Error{StatusCode: 401}}, Cause: "refused"}, ""},
		"the end of the process": {stopped, inventory.ProjectCheck{Project: "bj4", Err: context.Canceled, Cause: "canceled"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			handler := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: withoutTime})
			checkProjects(tc.ctx, func(context.Context) []inventory.ProjectCheck { return []inventory.ProjectCheck{tc.check} }, slog.New(handler))
			if diff := cmp.Diff(tc.want, log.String()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
