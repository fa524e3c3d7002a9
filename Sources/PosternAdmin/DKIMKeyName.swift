// The name under which a key is published, made of what `--domain` and `--selector` say.

internal import PosternMail

/// `d=` and `s=` of a key. Source: RFC 6376 §3.5, §3.6.2.1.
struct DKIMKeyName: Hashable, Sendable {
    let domain: DomainName
    let selector: DomainName
    /// `selector._domainkey.domain`.
    let record: DomainName

    init(domain: String, selector: String) throws(DKIMKeyNameError) {
        self.domain = try Self.name(domain, as: "--domain", minLabels: 2)  // RFC 6376 §3.5, d=: domain-name
        self.selector = try Self.name(selector, as: "--selector", minLabels: 1)
        do throws(DomainNameError) {
            record = try self.domain.prefixed("_domainkey").prefixed(self.selector)
        } catch {
            throw DKIMKeyNameError(
                text: "expected a selector and domain that make a name of at most 255 octets, found \(error)")
        }
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
