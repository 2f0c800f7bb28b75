package main

import "net/url"

// Where the requests look.
const (
	shopPods    = "/api/v1/namespaces/shop/pods"
	shopGadgets = "/apis/compat.krm.test/v1/namespaces/shop/gadgets"
	oneLone     = shopPods + "/lone-07"
)

// What they ask for.
const (
	asJSON      = "application/json"
	asProtobuf  = "application/vnd.kubernetes.protobuf"
	asYAML      = "application/yaml"
	asTable     = "application/json;as=Table;v=v1;g=meta.k8s.io"
	asMeta      = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	asMetaList  = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	asMetaProto = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
	asMetaLists = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
	likeKubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
	likeClient  = "application/vnd.kubernetes.protobuf,application/json"
)

// requests is the whole table.
func requests(w *world) (all []request) {
	for _, some := range [][]request{
		plainRequests(), labelRequests(), fieldRequests(), versionRequests(), pageRequests(), acceptRequests(), pathRequests(), watchRequests(), walks(w),
	} {
		all = append(all, some...)
	}
	return all
}

func paths(all ...string) (requests []request) {
	for _, path := range all {
		requests = append(requests, request{path: path})
	}
	return requests
}

// with adds a value of one query parameter to a path, for each of the values.
func with(path, parameter string, values ...string) (requests []request) {
	for _, value := range values {
		requests = append(requests, request{path: path + "?" + parameter + "=" + url.QueryEscape(value)})
	}
	return requests
}

// loose lets the wording of the errors differ.
func loose(requests []request) []request {
	for i := range requests {
		requests[i].loose = true
	}
	return requests
}

func plainRequests() []request {
	all := paths(
		shopPods, oneLone, "/api/v1/pods", "/api/v1/namespaces", "/api/v1/namespaces/shop", "/api/v1/nodes/node-0",
		"/api/v1/namespaces/shop/services/web", "/api/v1/namespaces/shop/configmaps/settings", "/api/v1/namespaces/shop/secrets/password",
		"/api/v1/persistentvolumes", "/apis/apps/v1/namespaces/shop/deployments", "/apis/apps/v1/namespaces/shop/deployments/web",
		"/apis/apps/v1/replicasets", "/apis/batch/v1/namespaces/billing/jobs/settle", "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/api",
		"/apis/networking.k8s.io/v1/ingresses", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.compat.krm.test",
		shopGadgets, shopGadgets+"/gadget-00", "/apis/compat.krm.test/v1/gadgets", "/api/v1/namespaces/hollow/pods",
		"/api/v1/namespaces/no-such-space/pods", "/apis/compat.krm.test/v1/namespaces/hollow/gadgets", "/version",
	)
	all = append(all, with(oneLone, "pretty", "true", "1", "false", "0", "", "sometimes")...)
	all = append(all, with(shopPods, "pretty", "true")...)
	all = append(all, request{path: "/api/v1/pods", gzip: true}, request{path: oneLone, gzip: true},
		request{path: "/api/v1/pods", gzip: true, accept: asProtobuf})
	return all
}

func labelRequests() []request {
	all := with(shopPods, "labelSelector",
		"env=prod", "env==prod", "env!=prod", "env in (dev,test)", "env in (dev)", "env notin (dev,test)", "env", "!env", "number>37", "number<3",
		"flag=", "flag in ()", "flag in (,x)", "env=prod,app!=web", "env,!flag,number notin (1,2,3)", "example.com/part=head", " env = prod ", "app=lone,app=web", "",
		"env=prod,env in (prod,dev)", "no-such-label")
	all = append(all, with(shopGadgets, "labelSelector", "shelf=1", "shelf>0", "shelf notin (0,1)")...)
	all = append(all, with(shopPods, "labelSelector",
		"a in (b", "a in b", "=", "a==b==c", "env=prod,,app", ",", "number>x", "!", "a notin b", "-bad=x", "a=-b", "a/b/c=d", "a in (b)c", "a b", "(a)", "a=b;c",
		"a=012345678901234567890123456789012345678901234567890123456789abcdef")...)
	return all
}

func fieldRequests() []request {
	all := with("/api/v1/pods", "fieldSelector",
		"metadata.name=lone-07", "metadata.namespace=shop", "spec.nodeName=node-1", "spec.nodeName=", "spec.nodeName!=node-1", "spec.restartPolicy=Never",
		"spec.schedulerName=default-scheduler", "spec.serviceAccountName=clerk", "spec.hostNetwork=false", "status.phase=Pending", "status.phase==Succeeded",
		"status.nominatedNodeName=", "status.phase=Running,spec.nodeName=node-2,metadata.name!=lone-01", `metadata.name=lone\,07`, "", "metadata.name=no-such")
	all = append(all, with("/api/v1/nodes", "fieldSelector", "spec.unschedulable=false", "metadata.name=node-1")...)
	all = append(all, with("/api/v1/namespaces", "fieldSelector", "status.phase=Active")...)
	all = append(all, with("/api/v1/secrets", "fieldSelector", "type=Opaque")...)
	all = append(all, with("/api/v1/services", "fieldSelector", "spec.clusterIP=None", "spec.type=ExternalName")...)
	all = append(all, with("/apis/batch/v1/jobs", "fieldSelector", "status.successful=2")...)
	all = append(all, with("/api/v1/namespaces/billing/events", "fieldSelector",
		"involvedObject.kind=Job", "reason=SuccessfulCreate,type=Normal", "involvedObject.name=settle,involvedObject.apiVersion=batch/v1", "source=job-controller", "reportingComponent=job-controller")...)
	all = append(all, with("/apis/compat.krm.test/v1/gadgets", "fieldSelector",
		"spec.colour=red", "spec.colour!=red", "spec.size=3,spec.colour=green", "spec.colour=", "metadata.name=gadget-01", "metadata.namespace=shop")...)
	all = append(all, with("/api/v1/namespaces/shop/configmaps", "fieldSelector", "metadata.name=settings")...)
	for _, bad := range []string{"nosuch=1", "metadata.labels=1", "status.phase", "status.phase>Running", "=x", "spec.nodeName=a=b", ",", "status.phase in (Running)", "spec.nodeName=node-1,nosuch=2"} {
		all = append(all, with("/api/v1/pods", "fieldSelector", bad)...)
	}
	all = append(all, with("/apis/compat.krm.test/v1/gadgets", "fieldSelector", "spec.ratio=1", "status.phase=x")...)
	all = append(all, with("/apis/apps/v1/deployments", "fieldSelector", "status.replicas=1", "metadata.name=web")...)
	all = append(all, with("/api/v1/nodes", "fieldSelector", "status.phase=x")...)
	all = append(all, paths(
		"/api/v1/namespaces/shop/pods?fieldSelector=metadata.name%3Dlone-07&labelSelector=app%3Dlone",
		"/api/v1/namespaces/shop/pods?fieldSelector=metadata.namespace%3Dbilling",
	)...)
	return all
}

func versionRequests() []request {
	all := paths(
		shopPods+"?resourceVersion=0", shopPods+"?resourceVersion={rv}", shopPods+"?resourceVersion=",
		shopPods+"?resourceVersion=0&resourceVersionMatch=NotOlderThan", shopPods+"?resourceVersion={rv}&resourceVersionMatch=NotOlderThan",
		shopPods+"?resourceVersion=1&resourceVersionMatch=NotOlderThan",
		shopPods+"?resourceVersion={rv}&resourceVersionMatch=Exact", shopPods+"?resourceVersion=1&resourceVersionMatch=Exact",
		shopPods+"?resourceVersion=0&resourceVersionMatch=Exact", shopPods+"?resourceVersionMatch=Exact", shopPods+"?resourceVersionMatch=NotOlderThan",
		shopPods+"?resourceVersion={rv}&resourceVersionMatch=Sometimes", shopPods+"?resourceVersionMatch=Sometimes",
		shopPods+"?resourceVersion=99999999&resourceVersionMatch=NotOlderThan", shopPods+"?resourceVersion=99999999",
		shopPods+"?limit=2&resourceVersion=0", shopPods+"?limit=2&resourceVersion={rv}", shopPods+"?limit=2&resourceVersion=1",
		shopPods+"?limit=2&resourceVersion={rv}&resourceVersionMatch=Exact", shopPods+"?limit=2&resourceVersion={rv}&resourceVersionMatch=NotOlderThan",
		shopPods+"?limit=2&resourceVersion=0&resourceVersionMatch=NotOlderThan",
		shopPods+"?limit=2&continue={token}&resourceVersion={rv}", shopPods+"?limit=2&continue={token}&resourceVersion=0",
		shopPods+"?limit=2&continue={token}&resourceVersionMatch=Exact", shopPods+"?limit=2&continue={token}&resourceVersion={rv}&resourceVersionMatch=Exact",
		oneLone+"?resourceVersion=0", oneLone+"?resourceVersion={rv}", oneLone+"?resourceVersion=99999999",
		shopGadgets+"?resourceVersion=0", shopGadgets+"?resourceVersion={rv-gadgets}&resourceVersionMatch=Exact", shopGadgets+"?resourceVersion=1&resourceVersionMatch=Exact",
		shopPods+"?resourceVersion=99999999&resourceVersionMatch=Exact",
	)
	return append(all, loose(paths(
		shopPods+"?resourceVersion=abc", shopPods+"?resourceVersion=-1", shopPods+"?resourceVersion=1.5", shopPods+"?resourceVersion=abc&resourceVersionMatch=Exact",
	))...)
}

func pageRequests() []request {
	all := paths(
		shopPods+"?limit=5", shopPods+"?limit=5&continue={token}", shopPods+"?limit=0", shopPods+"?limit=1000", shopPods+"?limit=1&labelSelector=env%3Dprod",
		shopPods+"?limit=1&fieldSelector=status.phase%3DRunning", shopPods+"?continue={token}", shopGadgets+"?limit=3", shopGadgets+"?limit=3&continue={token-gadgets}",
		"/api/v1/namespaces/hollow/pods?limit=1", shopPods+"?limit=-1", shopPods+"?timeoutSeconds=5", shopPods+"?timeout=5s", shopPods+"?unknown=parameter", shopPods+"?watch=false", shopPods+"?watch=0",
		shopPods+"?limit=5&limit=7",
	)
	all = append(all, loose(paths(shopPods+"?continue=abc", shopPods+"?limit=2&continue=e30"))...)
	return append(all, paths(
		shopPods+"?limit=x", shopPods+"?limit=1.5", shopPods+"?limit=99999999999999999999", shopPods+"?timeoutSeconds=x",
		shopPods+"?timeout=x", shopPods+"?watch=x&timeoutSeconds=1", shopPods+"?allowWatchBookmarks=x", shopPods+"?sendInitialEvents=true", shopPods+"?sendInitialEvents=x",
	)...)
}

func acceptRequests() (all []request) {
	return append(all, []request{
		{path: shopPods, accept: asProtobuf},
		{path: oneLone, accept: asProtobuf},
		{path: oneLone, accept: likeClient},
		{path: "/api/v1/nodes", accept: asProtobuf},
		{path: "/apis/apps/v1/namespaces/shop/deployments", accept: likeClient},
		{path: "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/web", accept: asProtobuf},
		{path: "/api/v1/namespaces/shop/pods/no-such", accept: asProtobuf},
		{path: "/api/v1/namespaces/shop/pods/no-such", accept: likeClient},
		{path: shopGadgets, accept: asProtobuf},
		{path: shopGadgets, accept: likeClient},
		{path: shopPods + "?limit=5", accept: asProtobuf},
		{path: shopPods, accept: asTable},
		{path: shopPods + "?limit=5", accept: asTable},
		{path: shopPods, accept: likeKubectl},
		{path: oneLone, accept: likeKubectl},
		{path: oneLone, accept: asTable},
		{path: shopPods + "?includeObject=Object&limit=3", accept: asTable},
		{path: shopPods + "?includeObject=None", accept: asTable},
		{path: shopPods + "?includeObject=Metadata", accept: asTable},
		{path: shopPods + "?includeObject=Sometimes", accept: asTable, loose: true},
		{path: "/api/v1/nodes", accept: asTable},
		{path: "/api/v1/namespaces/hollow/pods", accept: asTable},
		{path: shopGadgets, accept: asTable},
		{path: "/apis/apps/v1/namespaces/shop/deployments", accept: asTable},
		{path: "/apis/batch/v1/namespaces/billing/cronjobs", accept: asTable},
		{path: "/apis/batch/v1/namespaces/billing/jobs", accept: asTable},
		{path: "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", accept: asTable},
		{path: "/api/v1/namespaces/shop/pods/no-such", accept: asTable},
		{path: shopPods, accept: "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"},
		{path: shopPods, accept: "application/json;as=Table;v=v9;g=meta.k8s.io"},
		{path: shopPods, accept: "application/json;as=Nonsense;v=v1;g=meta.k8s.io"},
		{path: shopPods, accept: asMetaList},
		{path: oneLone, accept: asMeta},
		{path: shopPods, accept: asMetaLists},
		{path: oneLone, accept: asMetaProto},
		{path: shopGadgets, accept: asMetaList},
		{path: shopGadgets, accept: asMetaLists},
		{path: shopGadgets + "/gadget-00", accept: asMetaProto},
		{path: shopPods, accept: asMeta},
		{path: oneLone, accept: asMetaList},
		{path: shopPods, accept: asMetaLists + "," + asMetaList + ",application/json"},
		{path: oneLone, accept: asYAML},
		{path: shopPods, accept: asYAML},
		{path: oneLone, accept: "*/*"},
		{path: oneLone, accept: "text/html,application/xhtml+xml,*/*;q=0.8"},
		{path: oneLone, accept: "text/plain", loose: true},
		{path: shopPods, accept: "application/xml", loose: true},
		{path: oneLone, accept: "application/json;q=0.5,application/vnd.kubernetes.protobuf;q=0.9"},
		{path: oneLone, accept: "application/vnd.kubernetes.protobuf;q=0.5,application/json;q=0.9"},
		{path: oneLone, accept: "text/plain,application/json;q=0.1"},
		{path: oneLone, accept: "application/json;stream=watch"},
		{path: oneLone, accept: "nonsense", loose: true},
		{path: oneLone, accept: "application/json;charset=utf-8"},
		{path: "/apis/apps/v1", accept: asProtobuf},
	}...)
}

func pathRequests() []request {
	all := paths(
		shopPods+"/no-such", "/api/v1/namespaces/no-such-space", "/api/v1/nodes/no-such", shopGadgets+"/no-such",
		shopPods+"/LONE-07", shopPods+"/lone%2D07", shopPods+"/", oneLone+"/",
		"/apis/apps", "/apis/apps/v1", "/api/v1", "/apis/batch/v1", "/apis/compat.krm.test", "/apis/compat.krm.test/v1", "/api",
	)
	// What is no path of an API is a page that is not found, in whatever words.
	for _, q := range paths(
		"/api/v1/nosuch", "/api/v1/namespaces/shop/nosuch", "/api/v1/namespaces/shop/nosuch/x", "/api/v2/pods", "/apis/nosuch.example.com/v1/things",
		"/apis/nosuch.example.com", "/apis/nosuch.example.com/v1", "/apis/apps/v9/deployments", "/apis/apps/v9", "/apis/apps/v1/nosuch",
		"/apis/compat.krm.test/v1/nosuch", "/apis/compat.krm.test/v9/gadgets", "/api/v1/namespaces/shop/nodes", "/api/v1/nodes/node-0/nosuch",
		oneLone+"/nosuch", "/nosuch", "/api/nosuch",
	) {
		q.bare = true
		all = append(all, q)
	}
	return all
}

func watchRequests() (all []request) {
	list := func(query string) string { return shopPods + "?watch=1&timeoutSeconds=1" + query }
	const initial = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
	all = paths(
		list(""), list("&resourceVersion=0"), list("&resourceVersion={rv}"), list("&labelSelector=env%3Dprod"), list("&fieldSelector=metadata.name%3Dlone-07"),
		list("&resourceVersion=0&labelSelector=env+in+(dev)&fieldSelector=status.phase%3DRunning"), list("&allowWatchBookmarks=true&resourceVersion={rv}"),
		list(initial), list(initial+"&resourceVersion=0"), list(initial+"&resourceVersion={rv}"), list(initial+"&labelSelector=no-such"), list(initial+"&labelSelector=env%3Dprod"),
		list("&sendInitialEvents=true"), list("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), list("&sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true"),
		list("&sendInitialEvents=false"), list("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion={rv}"), list("&resourceVersionMatch=NotOlderThan"),
		list("&resourceVersionMatch=Exact&resourceVersion={rv}"), list("&resourceVersion=1"), list("&limit=2"), list("&continue={token}"),
		list("&labelSelector=a+in+(b"), list("&fieldSelector=nosuch%3D1"),
		shopPods+"?watch=true&timeoutSeconds=1&resourceVersion=0", "/api/v1/watch/namespaces/shop/pods?timeoutSeconds=1&resourceVersion=0",
		shopGadgets+"?watch=1&timeoutSeconds=1"+initial, shopGadgets+"?watch=1&timeoutSeconds=1&resourceVersion=1", shopGadgets+"?watch=1&timeoutSeconds=1"+initial+"&fieldSelector=spec.colour%3Dred",
		"/api/v1/nosuch?watch=1&timeoutSeconds=1", "/api/v1/namespaces/hollow/pods?watch=1&timeoutSeconds=1"+initial,
		oneLone+"?watch=1&timeoutSeconds=1",
	)
	for _, accept := range []string{asProtobuf, likeClient, asTable, likeKubectl, asMeta, asMetaProto, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"} {
		all = append(all, request{path: list("&resourceVersion=0"), accept: accept})
	}
	for _, accept := range []string{asYAML, "text/plain"} {
		all = append(all, request{path: list("&resourceVersion=0"), accept: accept, loose: true})
	}
	for _, accept := range []string{asProtobuf, asTable, asMetaProto} {
		all = append(all, request{path: list(initial), accept: accept}, request{path: list("&resourceVersion=1"), accept: accept})
	}
	all = append(all,
		request{path: shopGadgets + "?watch=1&timeoutSeconds=1&resourceVersion=0", accept: asTable},
		request{path: shopGadgets + "?watch=1&timeoutSeconds=1" + initial, accept: asMetaProto},
		request{path: shopGadgets + "?watch=1&timeoutSeconds=1&resourceVersion=0", accept: asProtobuf},
		request{path: list("&resourceVersion=0&includeObject=Object"), accept: asTable},
		request{path: list("&resourceVersion=0"), gzip: true},
	)
	return all
}
