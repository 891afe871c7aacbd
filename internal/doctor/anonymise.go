package doctor

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/replay"
)

// What a record shows as it is: nothing of it names anything of the customer. Every other text gets a pseudonym, as a field that
// was not thought of may be a secret.
var (
	publicFields = regexp.MustCompile(`^(scan_status|scan_failed_code|image_type|registry_type|type|status|fail_reason|shared_status|severity_level|severity|` +
		`repair_necessity|handle_status|error_code|protocol|api_version|vul_id|cve_id|limit|offset|sort_key|sort_dir|[a-z_]*(_num|_score|_size|cvss))$`)
	publicTexts = regexp.MustCompile(`^(|true|false|null|latest|(swr\.)?[a-z]{2}-(north|south|east|west|central)[a-z]*-\d+(\.myhuaweicloud\.(com|eu))?)$`)
	// publicPaths are the parts of paths that are no IDs.
	publicPaths = regexp.MustCompile(`^(|\{project_id\}|v3|v5|projects|images?|registries|vulnerabilit(y|ies)|cve|sensitive|malwares|pay-per-scan|statistics)$`)
	// prose may hold anything, and is left out.
	prose = regexp.MustCompile(`(^|_)(desc|description|msg|detail|solution|url|position|path|username)$`)
	words = regexp.MustCompile(`%2F|[\pL\pN]+`)
	hex   = regexp.MustCompile(`^[0-9a-f]{32,}$`)
)

// recordedAt is the time of every record: all times in it are moved so that this is when it was written.
func recordedAt() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

// pseudonyms replaces names, the same name always by the same one. A pseudonym has the length of the name, letters where that has
// letters, digits where it has digits, and its other characters. Two names have different ones.
type pseudonyms struct {
	key []byte
	// shortened are the pseudonyms of texts that doctor made of others, to see how HSS's filters compare.
	shortened map[string]string
}

// shorten returns a name without its last letter.
func shorten(name string) string { return name[:len(name)-1] }

// newRecord returns the anonymised record of exchanges in which some names were shortened, with pseudonyms that depend on a key.
func newRecord(exchanges []replay.Exchange, shortened []string, key []byte, now time.Time) *replay.Record {
	p := &pseudonyms{key: key, shortened: map[string]string{}}
	// The longest first, as one may be made of another.
	slices.SortStableFunc(shortened, func(a, b string) int { return len(b) - len(a) })
	for _, name := range shortened {
		p.shortened[shorten(name)] = shorten(p.text(name))
	}
	r := &replay.Record{Version: replay.Version, Time: recordedAt()}
	for _, e := range exchanges {
		e.Request = p.request(e.Request)
		if json.Valid(e.JSON) {
			e.JSON = p.body(replay.Move(e.JSON, recordedAt().Sub(now)))
		} else {
			e.JSON, e.Text = nil, fmt.Sprintf("%.1s (%d bytes that are not JSON were left out)", bytes.TrimSpace(e.JSON), len(e.JSON))
		}
		r.Exchanges = append(r.Exchanges, e)
	}
	return r
}

// request replaces IDs in the path, and values in the query.
func (p *pseudonyms) request(key string) string {
	path, query, _ := strings.Cut(key, "?")
	segments := strings.Split(path, "/")
	for i, s := range segments[1:] {
		if text, err := url.PathUnescape(s); err == nil && !publicPaths.MatchString(s) && segments[i] != "vulnerability" {
			segments[i+1] = url.PathEscape(p.text(text))
		}
	}
	values, _ := url.ParseQuery(query) // Key has encoded it
	for name, value := range values {
		if value[0] = p.field(name, value[0]); name == "enterprise_project_id" {
			value[0] = hss.AllGrantedEnterpriseProjects
		}
	}
	return strings.TrimSuffix(strings.Join(segments, "/")+"?"+values.Encode(), "?")
}

// body replaces what is in the texts and the IDs of a JSON text. Whatever else is in it stays as it was sent.
func (p *pseudonyms) body(text []byte) []byte {
	name := ""
	return regexp.MustCompile(`("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*`).ReplaceAllFunc(text, func(token []byte) []byte {
		var content string
		switch quoted := bytes.HasPrefix(token, []byte(`"`)); {
		case bytes.HasSuffix(token, []byte(":")): // its name has no colon behind the quote
			name = strings.Trim(strings.TrimRight(string(token), ": \t\r\n"), `"`)
			return token
		case quoted && json.Unmarshal(token, &content) == nil:
			replaced, _ := json.Marshal(p.field(name, content)) // every text can be marshaled
			return replaced
		case quoted:
			return []byte(`""`)
		case name == "id" || strings.HasSuffix(name, "_id"):
			return []byte(p.field(name, string(token)))
		}
		return token
	})
}

// field replaces a text, or digits, of a field.
func (p *pseudonyms) field(name, text string) string {
	_, err := strconv.ParseInt(text, 10, 64)
	switch {
	case strings.HasSuffix(name, "_time") && err == nil, publicFields.MatchString(name), publicTexts.MatchString(text):
		return text
	case prose.MatchString(name):
		return "(removed)"
	}
	return p.text(text)
}

// text returns the pseudonym of a text.
func (p *pseudonyms) text(s string) string {
	if made, ok := p.shortened[s]; ok {
		return made
	}
	return words.ReplaceAllStringFunc(s, p.word)
}

// word returns the pseudonym of a word. Each character is moved in its alphabet by a distance that depends on all characters before it,
// and then by one that depends on all behind it: so every word of a form has a pseudonym of its own.
func (p *pseudonyms) word(w string) string {
	if w == "sha256" || w == "%2F" {
		return w
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	first, others := []string{digits[:1], digits[1:], lower, upper}, []string{digits, lower, upper} // a number has no leading zero
	if hex.MatchString(w) {
		first, others = []string{digits + lower[:6]}, []string{digits + lower[:6]}
	}
	runes := []rune(w)
	move := func(i int, before []rune, pass string) {
		mac := hmac.New(sha256.New, p.key)
		fmt.Fprintf(mac, "%s %d %d %s", pass, i, len(runes), string(before))
		by := int32(binary.BigEndian.Uint16(mac.Sum(nil)))
		alphabets := others
		if i == 0 {
			alphabets = first
		}
		for _, alphabet := range alphabets {
			if at := strings.IndexRune(alphabet, runes[i]); at >= 0 {
				runes[i] = rune(alphabet[(at+int(by))%len(alphabet)])
				return
			}
		}
		const many = 5000
		runes[i] = '一' + (runes[i]+by)%many
	}
	for i := range runes {
		move(i, runes[:i], "from the left")
	}
	for i := range slices.Backward(runes) {
		move(i, runes[i+1:], "from the right")
	}
	return string(runes)
}
