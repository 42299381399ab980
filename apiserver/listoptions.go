package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// listOptions are the query parameters of list, watch and deletecollection.
type listOptions struct {
	metav1.ListOptions
	selector selector
	include  metav1.IncludeObjectPolicy
	// revision is resourceVersion as a number; 0: none was given, or "0".
	revision int64
	// token is the decoded continue parameter; nil: the first page.
	token *continueToken
}

func (c *call) listOptions() (listOptions, error) {
	var o listOptions
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&c.query, &o.ListOptions, nil); err != nil {
		return o, apierrors.NewBadRequest("reading the query parameters: " + err.Error())
	}
	var err error
	if o.selector, err = parseSelector(o.LabelSelector, o.FieldSelector); err != nil {
		return o, err
	}
	if o.include, err = c.includeObject(); err != nil {
		return o, err
	}
	if o.revision, err = parseRevision(o.ResourceVersion); err != nil {
		return o, err
	}
	var errs field.ErrorList
	if o.Watch {
		errs = checkWatchOptions(&o.ListOptions)
	} else {
		errs = checkListOptions(&o.ListOptions)
	}
	if len(errs) > 0 {
		return o, errOptions("ListOptions", errs)
	}
	if o.Continue != "" && !o.Watch {
		if o.revision != 0 {
			return o, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		if o.token, err = parseToken(o.Continue); err != nil {
			return o, err
		}
	}
	return o, nil
}

var (
	pathMatch   = field.NewPath("resourceVersionMatch")
	pathInitial = field.NewPath("sendInitialEvents")
)

// checkListOptions are Kubernetes' rules on which parameters go together.
func checkListOptions(o *metav1.ListOptions) (errs field.ErrorList) {
	if match := o.ResourceVersionMatch; match != "" {
		if o.ResourceVersion == "" {
			errs = append(errs, field.Forbidden(pathMatch, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
		}
		if o.Continue != "" {
			errs = append(errs, field.Forbidden(pathMatch, "resourceVersionMatch is forbidden when continue is provided"))
		}
		if match != metav1.ResourceVersionMatchExact && match != metav1.ResourceVersionMatchNotOlderThan {
			errs = append(errs, field.NotSupported(pathMatch, match, []metav1.ResourceVersionMatch{
				metav1.ResourceVersionMatchExact, metav1.ResourceVersionMatchNotOlderThan}))
		}
		if match == metav1.ResourceVersionMatchExact && o.ResourceVersion == "0" {
			errs = append(errs, field.Forbidden(pathMatch, `resourceVersionMatch "Exact" is forbidden for resourceVersion "0"`))
		}
	}
	if o.SendInitialEvents != nil {
		errs = append(errs, field.Forbidden(pathInitial, "sendInitialEvents is forbidden for list"))
	}
	return errs
}

func checkWatchOptions(o *metav1.ListOptions) (errs field.ErrorList) {
	match := o.ResourceVersionMatch
	if o.SendInitialEvents != nil && match != metav1.ResourceVersionMatchNotOlderThan {
		errs = append(errs, field.Forbidden(pathMatch, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
	}
	if match != "" {
		if o.SendInitialEvents == nil {
			errs = append(errs, field.Forbidden(pathMatch, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
		}
		if match != metav1.ResourceVersionMatchNotOlderThan {
			errs = append(errs, field.NotSupported(pathMatch, match, []metav1.ResourceVersionMatch{metav1.ResourceVersionMatchNotOlderThan}))
		}
	}
	return errs
}

// continueToken is where the next page of a list begins.
type continueToken struct {
	Version string `json:"v"`
	// Revision is that of the first page; -1: the present, whatever it is.
	Revision int64 `json:"rv"`
	// Reading is the later one that is read at since Revision is not kept any more;
	// 0: Revision.
	Reading int64 `json:"at,omitempty"`
	// After is the metadata.name of the last record that was handed out.
	After string `json:"start"`
}

const tokenVersion = "meta.k8s.io/v1"

func (t continueToken) String() string {
	t.Version = tokenVersion
	data, err := json.Marshal(t)
	if err != nil {
		panic(err) // a struct of strings and a number always encodes
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseToken(s string) (*continueToken, error) {
	data, err := base64.RawURLEncoding.DecodeString(s)
	t := new(continueToken)
	if err == nil {
		err = json.Unmarshal(data, t)
	}
	if err == nil && (t.Version != tokenVersion || t.Revision < -1 || t.Revision == 0 || t.Reading < 0 || t.After == "") {
		err = fmt.Errorf("it is not one that this server gave")
	}
	if err != nil {
		return nil, apierrors.NewBadRequest("continue key is not valid: " + err.Error())
	}
	return t, nil
}
