// Package wire knows how Kubernetes objects look on the wire: JSON, protobuf,
// PartialObjectMetadata, Table, watch frames and gzip, byte for byte as
// kube-apiserver writes them wherever a client could see a difference. It is
// functions over bytes; it holds no objects and speaks no HTTP.
//
// A body is the JSON of one object as kube-apiserver sent it. Encoding happens
// once per object: an answer is the encoded objects with short pieces between
// them, whose lengths are known before the first byte is written.
package wire
