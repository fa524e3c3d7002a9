// `postern backup create`, step by step: what belongs into the archive is found and opened, hashed, written under a
// hidden name, brought to the disk, and only then given its name. An end in between leaves no archive.

internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternStore

struct BackupRun {
    let options: GlobalOptions
    let control: DaemonControl
    /// Nil for standard output.
    let folder: BackupFolder?
    /// Where Postfix's files are, if they are wanted.
    let postfix: String?
    let surroundings: Surroundings

    /// What was made.
    struct Made {
        var manifest: BackupManifest
        /// Nil for standard output.
        var path: String?
        /// Of the archive.
        var octets: Int
        var notes: [String]
        /// What should be in the archive and is not.
        var missing: [String]
    }

    /// Moments between the steps, for tests: what a crash would leave is there to be seen.
    enum Step: String, Sendable, CaseIterable {
        case begun, collected, manifest, half, written, synced, placed
    }

    private static let interrupted = CommandFailure(.unavailable, "interrupted; no archive was made")

    func run() throws(CommandFailure) -> Made {
        let isInterrupted = surroundings.interruption()
        func reached(_ step: Step) throws(CommandFailure) {
            surroundings.reached("backup \(step.rawValue)")
            if isInterrupted() { throw Self.interrupted }
        }
        if let folder {
            try folder.make()
            try folder.removeLeftovers()
        }
        try reached(.begun)
        var scratch: BackupScratch?
        defer { scratch = nil }
        let result = options.load(for: .check, in: surroundings)
        guard let configuration = result.readable else { throw options.failure(result) }
        let path = try configurationPath()
        guard let state = BackupCollection.plain(configuration.state.directory) else {
            throw CommandFailure(
                .badConfiguration, "state.directory: expected a path that an archive can hold, found another")
        }
        var collection = BackupCollection()
        try collection.addConfiguration(path, result)
        if let postfix { try collection.addPostfix(postfix) }
        let host = configuration.host.name.description
        try folder?.checkRoom(for: collection.octets + Self.octets(ofStateIn: state), host: host)
        let progress = Progress(surroundings)
        try collection.addState(
            StateTaking(control: control, folder: state) { () throws(CommandFailure) in
                if let scratch { return scratch }
                let made = try BackupScratch(in: folder)
                scratch = made
                return made
            } progress: { state, octets, total in
                progress.tell("copying \(state.fileName)", octets, of: total)
            })
        try reached(.collected)
        let manifest = BackupManifest(
            version: DaemonArguments.release, host: host, created: surroundings.now(), configuration: path,
            stateDirectory: state, entries: collection.sources.map(\.entry), missing: collection.missing)
        try folder?.checkRoom(for: manifest.octets, host: host)  // copies may lie there by now
        var made = Made(
            manifest: manifest, path: nil, octets: 0, notes: collection.notes, missing: collection.missing)
        try write(collection.sources, &made, progress, reached, isInterrupted)
        if made.missing.isEmpty {
            do throws(CommandFailure) {
                try LastBackup(time: manifest.created, octets: made.octets).write(as: .made, in: state)
            } catch {
                made.notes.append("warning: \(error.text); the metrics do not tell of this backup")
            }
        }
        return made
    }

    /// What the daemons remember, by what lies there.
    private static func octets(ofStateIn folder: String) -> Int {
        var octets = 0
        for state in BackupManifest.State.allCases {
            for suffix in state.isSQLite ? ["", "-wal"] : [""] {
                var status = stat()
                guard lstat(Files.path(state.fileName + suffix, below: folder), &status) == 0 else { continue }
                octets += Int(status.st_size)
            }
        }
        return octets
    }

    private func write(
        _ sources: [BackupSource], _ made: inout Made, _ progress: Progress,
        _ reached: (Step) throws(CommandFailure) -> Void, _ isInterrupted: () -> Bool
    ) throws(CommandFailure) {
        let file: PartialArchive?
        if let folder { file = try PartialArchive(in: folder) } else { file = nil }
        var count = 0
        let writer = try ArchiveWriter(made.manifest) { octets throws(CommandFailure) in
            count += octets.count
            if let file { try file.write(octets) } else { try surroundings.write(octets) }
        }
        try reached(.manifest)
        let total = made.manifest.octets
        var (written, isHalf) = (0, false)
        for source in sources {
            var reader = BackupSource.Reader(source)
            try writer.add { () throws(CommandFailure) in
                if written * 2 >= total, !isHalf {
                    isHalf = true
                    try reached(.half)
                }
                if isInterrupted() { throw Self.interrupted }
                let octets = try reader.next()
                written += octets.count
                progress.tell("writing the archive", written, of: total)
                return octets
            }
        }
        try writer.finish()
        progress.end()
        made.octets = count
        try reached(.written)
        guard let file, let folder else { return }
        let name = BackupName(host: made.manifest.host, created: made.manifest.created).text
        try file.place(as: name) { surroundings.reached("backup \(Step.synced.rawValue)") }
        made.path = folder.path(of: name)
        surroundings.reached("backup \(Step.placed.rawValue)")
    }

    /// Absolute.
    private func configurationPath() throws(CommandFailure) -> String {
        let path = options.configPath
        let whole: String
        if path.hasPrefix("/") {
            whole = path
        } else {
            guard let current = getcwd(nil, 0) else {
                throw CommandFailure(FileFailure.last("find the folder of \(path)"))
            }
            defer { free(current) }
            whole = Files.path(path, below: String(cString: current))
        }
        guard let plain = BackupCollection.plain(whole) else {
            throw CommandFailure(.badConfiguration, "\(path): expected a path that an archive can hold, found another")
        }
        return plain
    }
}

/// How far long work has come, for who sits at the terminal: one line that is written over and over.
final class Progress {
    private let show: ((String) -> Void)?
    private var told = ContinuousClock.now
    private var isShown = false
    private let interval: Duration

    /// - Parameter interval: what takes less is not told of.
    init(_ surroundings: Surroundings, interval: Duration = .milliseconds(250)) {
        show = surroundings.showProgress
        self.interval = interval
    }

    func tell(_ text: String, _ octets: Int, of total: Int) {
        guard let show, ContinuousClock.now - told >= interval else { return }
        told = .now
        isShown = true
        let share = total > 0 ? " \(min(100, octets * 100 / total)) %" : ""
        show("\(text):\(share) of \(ReportNumber.octets(total))")
    }

    /// Clears the line.
    func end() {
        if isShown { show?("") }
        isShown = false
    }

    deinit { end() }
}
