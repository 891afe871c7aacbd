package hsstest

import (
	"encoding/json"
	"net/http"
)

// Codes that the server answers with.
const (
	codeInvalidParameter = "HSS.0001"
	codeAccessDenied     = "HSS.0010"
	codeNoPermission     = "HSS.0013"
	codeNoSuchAPI        = "APIGW.0101"
	codeUnauthorized     = "APIGW.0301"
	codeClockSkew        = "APIGW.0303"
	codeThrottled        = "APIGW.0308"
	codeTooLarge         = "APIGW.0201"
	codeNotFound         = "HSS.0011"
)

// refusal is an error answer in one of the two documented shapes.
type refusal struct {
	status  int
	body    map[string]string
	gateway bool
	header  map[string]string
}

// fromGateway is an error of the API gateway:
// {"error_msg","error_code","request_id"}.
func fromGateway(status int, code, message string) *refusal {
	return &refusal{status: status, gateway: true,
		body: map[string]string{"error_code": code, "error_msg": message}}
}

// fromService is an error of HSS itself, which is nearly always a 400:
// {"error_code","error_description","error_msg"}.
func fromService(code, message, description string) *refusal {
	return &refusal{status: http.StatusBadRequest, body: map[string]string{
		"error_code": code, "error_msg": message, "error_description": description}}
}

// invalidParameter is HSS's refusal of a parameter or a body.
func invalidParameter(err error) *refusal {
	return fromService(codeInvalidParameter, "Invalid parameter.", err.Error())
}

func unauthorized(reason string) *refusal {
	return fromGateway(http.StatusUnauthorized, codeUnauthorized,
		"Incorrect IAM authentication information: "+reason)
}

func (f *refusal) write(w http.ResponseWriter, requestID string) {
	if f.gateway {
		f.body["request_id"] = requestID
	}
	for name, value := range f.header {
		w.Header().Set(name, value)
	}
	writeJSON(w, f.status, f.body)
}

// writeJSON answers with body. An error means that the client has left.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	text, err := json.Marshal(body)
	if err != nil { // an answerBody and a map of strings always are JSON
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
