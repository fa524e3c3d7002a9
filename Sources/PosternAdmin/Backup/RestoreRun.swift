// One restore from its archive to its last rename(2), for `restore` and, into a scratch root, for `test`. First the
// whole archive is read and compared with its manifest; only then is anything looked at or written.

internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// An archive of which every octet was found right.
struct CheckedArchive {
    let reader: ArchiveReader
    /// postern.toml as the archive has it.
    let configuration: [UInt8]

    /// Longest configuration that daemons read, and more than that is no configuration.
    private static let maxConfigurationOctets = 4 << 20

    /// Reads all of it.
    init(_ path: String, _ surroundings: Surroundings, isInterrupted: () -> Bool) throws(CommandFailure) {
        let progress = Progress(surroundings)
        let reader = try ArchiveReader(path)
        self.reader = reader
        let total = reader.manifest.octets
        var done = 0
        var configuration: [UInt8] = []
        var isConfiguration = false
        try reader.read { piece throws(CommandFailure) in
            if isInterrupted() { throw CommandFailure(.unavailable, "interrupted; nothing was changed") }
            switch piece {
            case .begin(let entry): isConfiguration = entry.original == reader.manifest.configuration
            case .octets(let octets):
                done += octets.count
                progress.tell("reading the archive", done, of: total)
                if isConfiguration, configuration.count <= Self.maxConfigurationOctets { configuration += octets }
            case .end: break
            }
        }
        progress.end()
        self.configuration = configuration
    }

    var manifest: BackupManifest { reader.manifest }

    /// Where its daemons have their control sockets.
    var control: String? {
        let folder = Files.folder(of: manifest.configuration)
        // `.dns` opens no keys and no lists; what is wrong with it is told after the restore.
        return Configuration.read(configuration, file: manifest.configuration, folder: folder, for: .dns)
            .readable?.listen.control
    }
}

extension RestoreOwners {
    /// This machine's, for who runs this.
    static func ofThisSystem() -> RestoreOwners {
        var owners = RestoreOwners(
            user: { name in UserIdentity(named: name).map { ($0.uid, $0.gid) } }, group: Self.group)
        if geteuid() != 0 { owners.keepsCallers = "only root may give them away" }
        return owners
    }

    /// Nothing is given away.
    static func caller(_ reason: String) -> RestoreOwners {
        RestoreOwners(user: { _ in nil }, group: { _ in nil }, keepsCallers: reason)
    }

    /// Source: getgrnam_r(3).
    @Sendable private static func group(_ name: String) -> UInt32? {
        var entry = Glibc.group()
        var buffer = [CChar](repeating: 0, count: 1 << 16)
        var found: UnsafeMutablePointer<Glibc.group>?
        return buffer.withUnsafeMutableBufferPointer { buffer in
            guard let text = buffer.baseAddress, getgrnam_r(name, &entry, text, buffer.count, &found) == 0, found != nil
            else { return nil }
            return entry.gr_gid
        }
    }
}

/// Where an archive is restored, and what of it.
struct RestoreRun {
    let archive: CheckedArchive
    let root: RestoreRoot
    let plan: RestorePlan
    /// Why files stay whoever restores'; nil where they are given away.
    let keepsCallers: String?
    private let isInterrupted: () -> Bool

    init(
        _ archive: CheckedArchive, into path: String, _ places: RestorePlan.Places, owners: RestoreOwners,
        now: UnixTime,
        isInterrupted: @escaping () -> Bool
    ) throws(CommandFailure) {
        self.archive = archive
        let root = try RestoreRoot(path)
        self.root = root
        self.isInterrupted = isInterrupted
        keepsCallers = owners.keepsCallers
        do {
            plan = try RestorePlan(
                archive.manifest, places, owners: owners, time: BackupTime.stamp(now),
                token: String(UInt64.random(in: .min ... .max), radix: 36),
                found: { path, entry throws(CommandFailure) in try root.found(path, entry) },
                hasFolder: { path throws(CommandFailure) in try root.folder(path) != nil })
        } catch let error as RestoreObstacles {
            var failure = CommandFailure(.unavailable, "the archive cannot be restored here; nothing was changed:")
            failure.notes = error.texts.map { "error: \($0)" }
            throw failure
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure(.unavailable, "\(error)")
        }
    }

    /// Writes everything and puts it in place.
    /// - Parameter check: asked when all is written and nothing is in place; what it throws ends it.
    func perform(
        _ surroundings: Surroundings, check: () throws(CommandFailure) -> Void = {}
    ) throws(CommandFailure) {
        let writer = RestoreWriter(plan, in: root, isInterrupted: isInterrupted)
        do throws(CommandFailure) {
            try writer.begin()
            let progress = Progress(surroundings)
            var done = 0
            try archive.reader.read { piece throws(CommandFailure) in
                if case .octets(let octets) = piece {
                    done += octets.count
                    progress.tell("writing", done, of: archive.manifest.octets)
                }
                try writer.take(piece)
            }
            progress.end()
            try check()
            try writer.settle()
        } catch {
            writer.discard()
            throw error
        }
        do throws(CommandFailure) { try writer.place() } catch {
            let count = writer.placed.count
            writer.discard()
            var failure = error
            if count > 0 {
                let all = plan.steps.count { $0.change != .same }
                failure.notes = [
                    "error: \(count) of \(all) files are in place, the others are as they were; run this again when that "
                        + "is mended"
                ]
            }
            throw failure
        }
    }

    /// The folders that files are put in.
    private var folders: [String] { Array(Set(plan.steps.map { Files.folder(of: $0.target) })).sorted() }

    /// What a restore that was killed has left in these folders.
    var leftovers: [String] {
        folders.flatMap { folder in
            // A folder that cannot be listed is told of when it is written to.
            ((try? root.names(in: folder)) ?? []).filter { $0.hasPrefix(RestorePlan.temporaryPrefix) }.sorted()
                .map { root.shown(folder == "/" ? "/\($0)" : "\(folder)/\($0)") }
        }
    }

    /// How what was kept goes away; nil where nothing was.
    var removal: String? {
        guard !plan.kept.isEmpty else { return nil }
        var outer: [String] = []
        for folder in folders where plan.kept.contains(where: { Files.folder(of: $0.target) == folder }) {
            if !outer.contains(where: { folder.hasPrefix($0 + "/") || $0 == "/" }) { outer.append(folder) }
        }
        let places = outer.map { ShellWord.quoted(root.outside($0)) }.joined(separator: " ")
        return "find \(places) -name '*.replaced-\(plan.stamp)*' -delete"
    }
}

enum ShellWord {
    /// A word for sh(1), quoted where it needs to be.
    static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { octet in
            switch octet {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2B...0x2F, 0x3A, 0x3D, 0x40, 0x5F: true
            default: false
            }
        }
        return isPlain && !word.isEmpty ? word : "'\(word.replacing("'", with: "'\\''"))'"
    }
}
