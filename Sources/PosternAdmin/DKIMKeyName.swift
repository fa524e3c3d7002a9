// The name under which a key is published, made of what `--domain` and `--selector` say.

internal import PosternMail

/// `d=` and `s=` of a key. Source: RFC 6376 §3.5, §3.6.2.1.
struct DKIMKeyName: Hashable, Sendable {
    let domain: DomainName
    let selector: DomainName
    /// `selector._domainkey.domain`.
    let record: DomainName

    init(domain: String, selector: String) throws(DKIMKeyNameError) {
        try self.init(
            domain: Self.domain(domain, as: "--domain"), selector: Self.selector(selector, as: "--selector"))
    }

    init(domain: DomainName, selector: DomainName) throws(DKIMKeyNameError) {
        self.domain = domain
        self.selector = selector
        do throws(DomainNameError) {
            record = try self.domain.prefixed("_domainkey").prefixed(self.selector)
        } catch {
            throw DKIMKeyNameError(
                text: "expected a selector and domain that make a name of at most 255 octets, found \(error)")
        }
    }

    /// - Parameter option: where the text came from, for the error.
    static func domain(_ text: String, as option: String) throws(DKIMKeyNameError) -> DomainName {
        try name(text, as: option, minLabels: 2)  // RFC 6376 §3.5, d=: domain-name
    }

    static func selector(_ text: String, as option: String) throws(DKIMKeyNameError) -> DomainName {
        try name(text, as: option, minLabels: 1)
    }

    private static func name(_ text: String, as option: String, minLabels: Int) throws(DKIMKeyNameError) -> DomainName {
        let example = minLabels > 1 ? "a domain such as example.com" : "a selector such as 2026q4"
        let name: DomainName
        do throws(DomainNameError) { name = try DomainName(text) } catch {
            throw DKIMKeyNameError(text: "\(option): expected \(example), found \"\(text)\", \(error)")
        }
        guard name.isHostname(minLabels: minLabels) else {
            throw DKIMKeyNameError(
                text: "\(option): expected \(example) (letters, digits and hyphens), found \"\(text)\"")
        }
        return name
    }
}

struct DKIMKeyNameError: Error, Equatable, CustomStringConvertible {
    var text: String
    var description: String { text }
}
