// A "dataset" of OpenDKIM: a list in the value itself, or a file of lines. Databases, LDAP, Lua and the like cannot be
// read here. Source: opendkim(8), "DATA SETS".

internal import PosternMail

/// An entry of a dataset: a key, and what stands beside it.
struct DataSetEntry: Hashable, Sendable {
    let key: String
    /// Empty where there is none.
    let value: String
    let line: ImportedLine
}

/// Why something is not carried over.
struct ImportRefusal: Error, Hashable, Sendable { let reason: String }

enum OpenDKIMDataSet {
    enum Kind: Hashable, Sendable {
        /// Looked up by exact keys.
        case plain
        /// Wildcard patterns, tried in order.
        case patterns
    }

    /// Most entries that are read of one.
    static let maxEntries = 100_000

    /// - Parameter read: the octets of a file of that name.
    static func entries(
        of parameter: ParameterLine, reading read: (String) throws(ImportRefusal) -> [UInt8]
    ) throws(ImportRefusal) -> (kind: Kind, entries: [DataSetEntry]) {
        let value = parameter.value
        for prefix in ["refile:", "file:"] where value.hasPrefix(prefix) {
            let name = String(value.dropFirst(prefix.count))
            return (prefix == "refile:" ? .patterns : .plain, try lines(of: name, try read(name)))
        }
        if value.hasPrefix("/"), !value.hasSuffix(".db") { return (.plain, try lines(of: value, try read(value))) }
        if value.hasPrefix("csl:") || !value.contains(":") && !value.hasSuffix(".db") {
            let list = value.hasPrefix("csl:") ? value.dropFirst(4) : value[...]
            return (.plain, words(of: list, parameter.line))
        }
        // A list may hold IPv6 addresses and `name=domain:selector:file`.
        let kind = value.prefix { $0 != ":" }
        guard
            !["db", "dsn", "ldap", "ldaps", "ldapi", "lua", "memcache", "erlang", "mdb", "repute", "socket"].contains(
                kind),
            !value.hasSuffix(".db")
        else {
            throw ImportRefusal(reason: "expected a list or a file of lines; a database cannot be read here")
        }
        return (.plain, words(of: value[...], parameter.line))
    }

    private static func words(of list: Substring, _ line: ImportedLine) -> [DataSetEntry] {
        list.split(separator: ",").prefix(maxEntries).map { word in
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let (key, value) = (trimmed(parts.first ?? ""), trimmed(parts.dropFirst().first ?? ""))
            return DataSetEntry(
                key: key, value: value, line: ImportedLine(file: line.file, number: line.number, text: trimmed(word)))
        }
    }

    private static func lines(of file: String, _ octets: [UInt8]) throws(ImportRefusal) -> [DataSetEntry] {
        let parameters = ParameterLine.lines(of: octets, file: file)
        guard parameters.count <= maxEntries else {
            throw ImportRefusal(reason: "expected at most \(maxEntries) lines in \(file), found \(parameters.count)")
        }
        return parameters.map { DataSetEntry(key: $0.name, value: $0.value, line: $0.line) }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(decoding: ImportedText.trimmed(Array(text.utf8)[...]), as: UTF8.self)
    }
}
