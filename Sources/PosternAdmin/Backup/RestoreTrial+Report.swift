// What `verify` and `test` have in common: an archive is read whole and tried, and told as one object for programs.

internal import PosternDaemon
internal import PosternMail
internal import PosternStore

extension RestoreTrial {
    /// Reads an archive, and restores it where nobody notices.
    /// - Parameter folder: what the scratch root is made in; nil: that of temporary files.
    init(of path: String, in folder: String? = nil, _ surroundings: Surroundings) throws(CommandFailure) {
        let isInterrupted = surroundings.interruption()
        let archive = try CheckedArchive(path, surroundings, isInterrupted: isInterrupted)
        try self.init(
            archive, in: folder ?? BackupScratch.temporaryFolder, surroundings, isInterrupted: isInterrupted)
    }

    var status: ExitStatus { isGood ? .done : .negative }
    /// For standard error.
    var notes: [String] { [archive.reader.exposure].compactMap(\.self) }

    /// When, where and by which Postern it was made; it may be a stranger's.
    var origin: (created: String, host: String, version: String) {
        let manifest = archive.manifest
        return (
            BackupTime.text(manifest.created), LogText.escaped(manifest.host.utf8),
            LogText.escaped(manifest.version.utf8)
        )
    }

    /// - Parameter own: what a subcommand tells besides.
    func json(_ own: KeyValuePairs<String, JSONValue>) -> JSONValue {
        let manifest = archive.manifest
        let parts = findings.map { finding -> JSONValue in
            let counts = finding.counts.map { JSONValue.Member(key: $0.name, value: .number($0.number)) }
            return [
                "part": .text(finding.what), "good": .boolean(finding.isGood),
                "texts": .list(finding.texts.map { .text($0) }), "counts": .object(counts),
            ]
        }
        func members(_ pairs: KeyValuePairs<String, JSONValue>) -> [JSONValue.Member] {
            pairs.map { JSONValue.Member(key: $0.key, value: $0.value) }
        }
        return .object(
            members([
                "archive": .text(archive.reader.path), "host": .text(manifest.host),
                "created": .number(Int(manifest.created.seconds)),
            ]) + members(own) + members(["good": .boolean(isGood), "parts": .list(parts)]))
    }
}
