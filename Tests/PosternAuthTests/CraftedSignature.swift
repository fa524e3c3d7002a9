// Signatures that our signer would never make: any tags, rightly signed all the same.

import PosternMail
import Testing

@testable import PosternAuth

/// Puts a signature with these tags on top of a message.
///
/// - Parameter tags: everything but `bh=` and `b=`, which are added: `v=1; a=...; ...`.
/// - Parameter body: what the signer saw; the message's own body if `nil`.
/// - Parameter length: what the signer hashed of the canonical body; all if `nil`.
/// - Parameter around: white space put on both sides of the value of `b=` after signing.
/// - Parameter tail: more tags behind `b=`.
func craft(
    _ message: TestMessage, tags: String, key: PrivateKey, body: [UInt8]? = nil, length: UInt64? = nil,
    around: String = "", tail: String = ""
) throws -> TestMessage {
    let list = try DKIMTagList(Array(tags.utf8))
    let forms = (list["c"].map { String(decoding: $0.asciiLowercased, as: UTF8.self) } ?? "simple/simple").split(
        separator: "/")
    let header = HeaderCanonicalization(rawValue: String(forms.first ?? "")) ?? .simple
    let bodyForm = BodyCanonicalization(rawValue: String(forms.dropFirst().first ?? "")) ?? .simple
    var bodies = BodyDigests()
    let digest = try bodies.digest(bodyForm, limit: length)
    let signedBody = body ?? message.body
    bodies.update(signedBody.span)
    bodies.finish()
    let bodyHash = String(decoding: Base64.encode(try digest.finish()), as: UTF8.self)
    var field = HeaderField("DKIM-Signature", "\(tags); bh=\(bodyHash); b=\(tail)")
    let names = (list["h"]?.colonSeparated ?? []).map(\.asciiLowercased)
    let fields = HeaderIndex(message.header).fields(named: names, except: nil)
    let hash = try #require(try SignedHeader.hash(fields, signature: field, canonicalization: header, maxOctets: .max))
    let signature = Array(around.utf8) + Base64.encode(try key.sign(hash: hash)) + Array(around.utf8)
    field.value.insert(contentsOf: signature, at: field.value.count - tail.utf8.count)
    var signed = message
    signed.header.insert(field, at: 0)
    return signed
}
