package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/image"
)

func reportOf(images ...Image) *Report {
	return &Report{Results: []Result{{
		Namespace: "shop", Kind: "Pod", Name: "web", title: "Pod/web", Images: images, Verdict: Denied,
		Message:  "pod \"web\" denied by 1 policy:\n- container \"app\": h.io/a:1 — bad [policy p]\nto do: mend it",
		Policies: []string{"p"},
	}}}
}

func draw(t *testing.T, r *Report, f Format) string {
	t.Helper()
	text, err := r.format(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestATableIsDrawn(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("0123456789abcdef", 4)
	tests := map[string]struct {
		report *Report
		format Format
		want   string
	}{
		"one image": {
			reportOf(Image{Reference: "h.io/a:1", Known: "severity High"}), Format{},
			`POD      IMAGE  WHAT HSS KNOWS  VERDICT  WHY
Pod/web  a:1    severity High   Denied   bad

1 verdict, all as the samples expect.
Images without a host are of h.io.
`,
		},
		"what is known begins where its image does": {
			reportOf(
				Image{Place: image.PlaceInitContainer, Reference: "h.io/a:1", Known: "a very long text about it that needs three lines"},
				Image{Place: image.PlaceVolume, Reference: "other.io/b@sha256:" + digest, Known: "nothing"},
			), Format{Width: 64},
			`POD      IMAGE             WHAT HSS       VERDICT  WHY
                           KNOWS
Pod/web  init: a:1         a very long    Denied   container
                           text about it           "app": bad
                           that needs
                           three lines
         volume:           nothing
         other.io/b@
         sha256:0123456…

1 verdict, all as the samples expect.
Images without a host are of h.io.
`,
		},
		"a wide table leaves nothing out": {
			reportOf(Image{Place: image.PlaceEphemeralContainer, Reference: "h.io/b@sha256:" + digest, Known: "nothing"}), Format{Output: Wide},
			`POD            IMAGE                                                                                  WHAT HSS KNOWS  VERDICT  WHY
shop: Pod/web  debug: h.io/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  nothing         Denied   pod "web" denied by 1 policy:
                                                                                                                               - container "app": h.io/a:1 — bad [policy p]
                                                                                                                               to do: mend it

1 verdict, all as the samples expect.
`,
		},
		"no results": {
			&Report{}, Format{},
			"POD  IMAGE  WHAT HSS KNOWS  VERDICT  WHY\n\n0 verdicts, all as the samples expect.\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, draw(t, tt.report, tt.format)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestColoursTellVerdictsApart(t *testing.T) {
	t.Parallel()
	const red, green, yellow, bold, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
	for verdict, want := range map[Verdict]string{Admitted: green, Warned: yellow, Denied: red, Failed: red} {
		r := reportOf()
		r.Results[0].Verdict = verdict
		if table := draw(t, r, Format{Colour: true}); !strings.Contains(table, want+string(verdict)+plain) {
			t.Errorf("%s isn't drawn in %q:\n%q", verdict, want, table)
		}
		r.Results[0].Problem = "it should be something else"
		if table := draw(t, r, Format{Colour: true}); !strings.Contains(table, bold+red+"! "+string(verdict)) {
			t.Errorf("an unexpected %s isn't marked:\n%q", verdict, table)
		}
	}
}

func TestOneVerdictIsCountedAsOne(t *testing.T) {
	t.Parallel()
	r := &Report{Results: []Result{{Problem: "x"}, {}}}
	if got := summary(r); got != "2 verdicts, 1 of them (marked !) not as the samples expect." {
		t.Errorf("got %q", got)
	}
}
