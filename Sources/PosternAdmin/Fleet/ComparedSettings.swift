// What of a configuration hosts of one fleet should have alike, as texts by key path: everything that decides about mail.
// Left out is what is a host's own by nature: its name and addresses, where files and sockets are, its resolvers, its log.

internal import PosternDaemon

enum ComparedSettings {
    /// Tables that are a host's own.
    private static let ownTables: Set<String> = ["listen", "state", "log", "dns", "store", "record"]
    /// Keys that are. Keys of mail are compared by what is in their files.
    private static let ownKeys: Set<String> = [
        "host.name", "host.authserv_id", "host.strip_authserv_ids", "dkim.key",
    ]
    /// A value that is longer than this is told by its digest.
    private static let maxText = 160
    private static let digestOctets = 8

    /// - Parameter shown: `Configuration.shown(all: true).json`, in which secrets are hidden.
    static func values(of shown: String) throws(CommandFailure) -> [String: String] {
        let document: ControlDocument
        do throws(ControlDocumentError) { document = try ControlDocument(Array(shown.utf8)) } catch {
            throw CommandFailure(.badConfiguration, "the configuration as JSON: \(error)")
        }
        var values: [String: String] = [:]
        for table in document.members where !ownTables.contains(table.key) {
            try collect(table.value, table.key, &values)
        }
        return values
    }

    private static func collect(
        _ value: ControlDocument, _ path: String, _ values: inout [String: String]
    ) throws(CommandFailure) {
        // What is recorded for replay is a host's own, too.
        guard !ownKeys.contains(path), !path.hasPrefix("policy.record") else { return }
        switch value {
        case .object(let members):
            for member in members { try collect(member.value, "\(path).\(member.key)", &values) }
        case .list(let elements) where elements.contains(where: { !$0.members.isEmpty }):
            // Tables of one name: the order matters, and a name tells more than a number.
            for (index, element) in elements.enumerated() {
                values["\(path)[\(index + 1)]"] = try text(element)
            }
        case .null: break
        default: values[path] = try text(value)
        }
    }

    private static func text(_ value: ControlDocument) throws(CommandFailure) -> String {
        let text = if case .text(let text) = value { text } else { value.description }
        guard text.utf8.count > maxText else { return text }
        let digest = Hexadecimal.text(Array(try ContentDigest.hash(Array(text.utf8)).prefix(digestOctets)))
        let name = value["name"]?.text ?? value["zone"]?.text
        return "\(name.map { "\($0), " } ?? "")SHA-256 \(digest)…"
    }
}
