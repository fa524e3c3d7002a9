// Which key of OpenDKIM signs for whom: the SigningTable's lines in the order in which OpenDKIM tries them, as author
// patterns of ours. Where an earlier line takes a later one's authors, the later one says less than it seems to.
// Source: opendkim.conf(5), "SigningTable".

internal import PosternAuth
internal import PosternDNS
internal import PosternMail

/// Authors: a local part or any, at a domain or below it.
struct ImportedAuthors: Hashable, Sendable, CustomStringConvertible {
    /// nil for any.
    let localPart: String?
    let domain: String
    let isBelow: Bool

    /// As `from` of a `[[dkim.key]]` has it.
    var description: String { "\(localPart ?? "*")@\(isBelow ? "*." : "")\(domain)" }

    /// A line's key in a table of patterns: `*@example.com`, `ann@*.example.com`.
    init(pattern text: String) throws(ImportRefusal) { try self.init(text, wholeDomain: nil) }

    /// A line's key in a table that is looked up: `ann@example.com`, `example.com`, `.example.com`, `ann@.example.com`.
    init(lookedUp text: String) throws(ImportRefusal) { try self.init(text, wholeDomain: ".") }

    private init(_ text: String, wholeDomain below: Character?) throws(ImportRefusal) {
        let lower = text.lowercased()
        let parts = lower.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        var host = parts.last ?? ""
        var local: Substring? = parts.count == 2 ? parts.first : nil
        if below == nil {
            if local == "*" { local = nil }
            guard parts.count == 2 else {
                throw ImportRefusal(
                    reason: "expected a pattern with a domain, such as *@example.com: a key signs for the domains that "
                        + "it is told")
            }
            isBelow = host.hasPrefix("*.")
            if isBelow { host = host.dropFirst(2) }
        } else {
            isBelow = host.first == below
            if isBelow { host = host.dropFirst() }
        }
        localPart = local.map(String.init)
        domain = String(host)
        // As our configuration will read it.
        guard local?.contains("*") != true, (try? AuthorPattern(description)) != nil else {
            throw ImportRefusal(
                reason: "expected an author such as *@example.com or *@*.example.com; \(text) names no domain")
        }
    }

    /// Whether all of the others are among them.
    func cover(_ other: ImportedAuthors) -> Bool {
        (localPart == nil || localPart == other.localPart) && coverDomain(of: other)
    }

    /// Whether anybody is among both.
    func meet(_ other: ImportedAuthors) -> Bool {
        (localPart == nil || other.localPart == nil || localPart == other.localPart)
            && (coverDomain(of: other) || other.coverDomain(of: self))
    }

    private func coverDomain(of other: ImportedAuthors) -> Bool {
        if !isBelow { return !other.isBelow && domain == other.domain }
        return other.domain.hasSuffix("." + domain) || other.isBelow && other.domain == domain
    }

    /// How late a table that is looked up comes to it: addresses, hosts, addresses of domains, domains.
    var rank: Int { localPart == nil ? (isBelow ? 3 : 1) : (isBelow ? 2 : 0) }
}

/// A line of the SigningTable.
struct SigningLine: Hashable, Sendable {
    let authors: ImportedAuthors
    /// Of the KeyTable.
    let keyName: String
    let line: ImportedLine

    /// The lines that sign for somebody, in the order in which they are tried.
    static func lines(
        of entries: [DataSetEntry], _ kind: OpenDKIMDataSet.Kind, isMultiple: Bool, _ tables: inout ImportedTables
    ) -> [SigningLine] {
        var found: [SigningLine] = []
        for entry in entries {
            do throws(ImportRefusal) {
                guard kind == .patterns || !entry.key.contains("*") else {
                    throw ImportRefusal(
                        reason: "wildcards count in a refile: alone; looked up as it stands it is nobody's address")
                }
                let authors =
                    kind == .patterns
                    ? try ImportedAuthors(pattern: entry.key) : try ImportedAuthors(lookedUp: entry.key)
                let parts = entry.value.split(separator: ":", maxSplits: 1)
                guard let name = parts.first else { throw ImportRefusal(reason: "expected the name of a key") }
                guard name != "%" else {
                    throw ImportRefusal(reason: "expected the name of a key, found %: write a line for each domain")
                }
                if parts.count > 1 {
                    tables.warn(entry.line, "signatures have no i= of their own here")
                }
                found.append(SigningLine(authors: authors, keyName: String(name), line: entry.line))
            } catch {
                tables.leave(entry.line, error.reason)
            }
        }
        if kind == .plain {
            found = found.enumerated().sorted {
                ($0.element.authors.rank, -$0.element.authors.domain.utf8.count, $0.offset)
                    < ($1.element.authors.rank, -$1.element.authors.domain.utf8.count, $1.offset)
            }.map(\.element)
        }
        return isMultiple ? found : firstMatches(found, &tables)
    }

    /// OpenDKIM signs by the first line that matches; here every key signs whose authors match.
    private static func firstMatches(_ lines: [SigningLine], _ tables: inout ImportedTables) -> [SigningLine] {
        var kept = SigningLinesByDomain()
        for line in lines {
            if let earlier = kept.above(line.authors.domain).first(where: { $0.authors.cover(line.authors) }) {
                if earlier.keyName != line.keyName {
                    tables.leave(line.line, "\(earlier.authors) is tried before and signs for all of these already")
                }
                continue
            }
            for earlier in kept.near(line.authors.domain)
            where earlier.keyName != line.keyName && earlier.authors.meet(line.authors) {
                tables.warn(
                    line.line,
                    "OpenDKIM signs mail of \(earlier.authors) by \(earlier.keyName) alone; here \(line.keyName) may "
                        + "sign it too")
            }
            kept.append(line)
        }
        return kept.lines
    }
}

/// Lines in their order, found by their domains: a host signs for tens of thousands, and few of them have to do with
/// each other.
private struct SigningLinesByDomain {
    private(set) var lines: [SigningLine] = []
    private var byDomain: [String: [Int]] = [:]
    /// By the names above their domains.
    private var below: [String: [Int]] = [:]

    mutating func append(_ line: SigningLine) {
        byDomain[line.authors.domain, default: []].append(lines.count)
        for name in Self.names(above: line.authors.domain) { below[name, default: []].append(lines.count) }
        lines.append(line)
    }

    /// The lines of a domain and of the names above it.
    func above(_ domain: String) -> [SigningLine] {
        at(([domain] + Self.names(above: domain)).flatMap { byDomain[$0] ?? [] })
    }

    /// Those, and the lines of names below it.
    func near(_ domain: String) -> [SigningLine] {
        at(([domain] + Self.names(above: domain)).flatMap { byDomain[$0] ?? [] } + (below[domain] ?? []))
    }

    private func at(_ indices: [Int]) -> [SigningLine] { indices.sorted().map { lines[$0] } }

    /// `a.b.c`: `b.c` and `c`. A pattern has been read as a domain name: it has at most 127 labels.
    private static func names(above domain: String) -> [String] {
        var names: [String] = []
        var rest = domain[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            names.append(String(rest))
        }
        return names
    }
}
