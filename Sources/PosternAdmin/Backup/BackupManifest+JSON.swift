// The manifest as JSON (RFC 8259): one object with a line for each file, so that people and `jq` can read it. Members
// that we do not know are left out: a later Postern of the same format may add some.

internal import PosternDaemon
internal import PosternMail

extension BackupManifest {
    /// As it stands in the archive.
    var json: [UInt8] {
        let head: [(String, JSONValue)] = [
            ("format", .number(Self.format)), ("postern", .text(version)), ("host", .text(host)),
            ("created", .number(Int(created.seconds))), ("created_text", .text(BackupTime.text(created))),
            ("configuration", .text(configuration)), ("state_directory", .text(stateDirectory)),
            ("missing", .list(missing.map { .text($0) })),
        ]
        var text = "{\n"
        for (key, value) in head { text += "  \(JSONValue.text(key)): \(value),\n" }
        text += "  \"entries\": [\n"
        text += entries.map { "    \($0.json)" }.joined(separator: ",\n")
        return Array((text + "\n  ]\n}\n").utf8)
    }

    /// Reads and checks one.
    init(json octets: [UInt8]) throws(BackupManifestError) {
        let document: ControlDocument
        do throws(ControlDocumentError) { document = try ControlDocument(octets, maxValues: Self.maxValues) } catch {
            throw BackupManifestError("\(error)")
        }
        guard let format = document["format"]?.number else {
            throw BackupManifestError("expected a format, found none")
        }
        guard format == Int64(Self.format) else {
            throw BackupManifestError(
                "expected format \(Self.format), found \(format): this archive is of another Postern, "
                    + LogText.escaped((document["postern"]?.text ?? "unknown").utf8))
        }
        func text(_ key: String) throws(BackupManifestError) -> String {
            guard let text = document[key]?.text, text.utf8.count <= 4096 else {
                throw BackupManifestError("expected a text for \(key), found something else")
            }
            return text
        }
        guard let created = document["created"]?.number, (0...9_000_000_000).contains(created) else {
            throw BackupManifestError("expected a time for created, found something else")
        }
        version = try text("postern")
        host = try text("host")
        self.created = UnixTime(seconds: created)
        configuration = try text("configuration")
        stateDirectory = try text("state_directory")
        guard case .list(let list)? = document["entries"], list.count <= Self.maxEntries else {
            throw BackupManifestError("expected a list of at most \(Self.maxEntries) entries, found something else")
        }
        entries = []
        for element in list { entries.append(try Entry(element)) }
        // Archives of before say nothing of it.
        if let told = document["missing"] {
            guard case .list(let names) = told else {
                throw BackupManifestError("expected a list for missing, found something else")
            }
            missing = try names.map { name throws(BackupManifestError) in
                guard let text = name.text else {
                    throw BackupManifestError("expected names of what is missing, found something else")
                }
                return text
            }
        }
        try check()
    }
}

extension BackupManifest.Entry {
    var json: JSONValue {
        [
            "path": .text(path), "kind": .text(kind.rawValue), "original": .text(original), "owner": .text(owner),
            "group": .text(group), "mode": .text(String(mode, radix: 8)), "size": .number(size),
            "sha256": .text(Hexadecimal.text(sha256)), "state": .optional(state?.rawValue),
            "schema": .optional(schema), "modified": .optional(modified.map { Int($0.nanoseconds) }),
        ]
    }

    fileprivate init(_ document: ControlDocument) throws(BackupManifestError) {
        guard let kind = document["kind"]?.text.flatMap(BackupManifest.Kind.init),
            let original = document["original"]?.text, let owner = document["owner"]?.text,
            let group = document["group"]?.text, let size = document["size"]?.number,
            let mode = document["mode"]?.text.flatMap({ UInt32($0, radix: 8) }),
            let sha256 = document["sha256"]?.text.flatMap(Hexadecimal.octets)
        else { throw BackupManifestError("expected an entry with all of its members, found another") }
        var state: BackupManifest.State?
        if let name = document["state"]?.text {
            state = BackupManifest.State(rawValue: name)
            guard state != nil else {
                throw BackupManifestError("expected a state of ours, found \(LogText.escaped(name.utf8))")
            }
        }
        self.init(
            kind: kind, original: original, owner: owner, group: group, mode: mode, size: Int(size), sha256: sha256,
            state: state, schema: document["schema"]?.number.map { Int($0) },
            modified: document["modified"]?.number.map { UnixTime(nanoseconds: $0) })
        guard document["path"]?.text == path else {
            throw BackupManifestError("expected the path \(LogText.escaped(path.utf8)), found another")
        }
    }
}
