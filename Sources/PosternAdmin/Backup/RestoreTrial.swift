// `postern backup test`: would this backup do? All of it is restored into a folder of its own, and looked at there as
// the daemons would: the configuration with everything that it names, each key, each store. The folder holds private
// keys, so nobody else can enter it, and it goes whatever happens; what a killed run has left goes with the next.

internal import Glibc
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail
internal import PosternStore

struct RestoreTrial {
    /// One line of the result.
    struct Finding: Equatable {
        /// `configuration`, `keys`, `greylist.sqlite`.
        var what: String
        /// What was found, or what is wrong.
        var texts: [String]
        var isGood: Bool
        var counts: [LedgerInspection.Count] = []
    }

    let archive: CheckedArchive
    private(set) var findings: [Finding] = []

    var isGood: Bool { findings.allSatisfy(\.isGood) }

    /// Longest key file that is looked at.
    private static let maxKeyOctets = 1 << 20

    /// - Parameter parent: the folder that the scratch root is made in.
    init(
        _ archive: CheckedArchive, in parent: String, _ surroundings: Surroundings, isInterrupted: @escaping () -> Bool
    ) throws(CommandFailure) {
        self.archive = archive
        let folder = BackupFolder(path: parent)
        try folder.removeLeftovers()
        let scratch = try BackupScratch(in: folder)  // gone with the end of this
        // As everybody sees it: what is told of a file begins so.
        guard let real = realpath(scratch.path, nil) else { throw .last("look at \(scratch.path)") }
        let root = String(cString: real)
        free(real)
        defer { ScratchTree.remove(root) }
        var places = RestorePlan.Places()
        places.isPrivate = true
        let run = try RestoreRun(
            archive, into: root, places, owners: .caller("this is a test"), now: surroundings.now(),
            isInterrupted: isInterrupted)
        let troubles = try run.roomTroubles()
        guard troubles.isEmpty else {
            var failure = CommandFailure(
                .unavailable, "no room for looking at the archive's files: name a folder with more in TMPDIR")
            failure.notes = troubles.map { "error: \($0.replacing(root, with: Files.folder(of: root)))" }
            throw failure
        }
        try run.perform(surroundings)
        findings = [configuration(below: root), keys(of: run)]
        if !archive.manifest.missing.isEmpty { findings.append(missing) }
        for step in run.plan.steps {
            guard let state = step.entry.state else { continue }
            if isInterrupted() { throw CommandFailure(.unavailable, "interrupted") }
            if step.entry.size >= Self.largeOctets {
                surroundings.tell("looking through \(state.fileName), \(ReportNumber.octets(step.entry.size))")
            }
            findings.append(store(state, run.root.outside(step.target), surroundings.now()))
        }
        withExtendedLifetime(scratch) {}
    }

    /// A store that takes a while.
    private static let largeOctets = 256 << 20

    // MARK: Configuration and keys

    /// What `create` could not have; it ended with 1 then.
    private var missing: Finding {
        let texts = archive.manifest.missing.map { "\(LogText.escaped($0.utf8)) could not be had when it was made" }
        return Finding(what: "missing", texts: texts, isGood: false)
    }

    private func configuration(below root: String) -> Finding {
        let path = archive.manifest.configuration
        let result = Configuration.load(path: path, below: root, for: .check, as: .current)
        guard !result.problems.isEmpty else {
            return Finding(what: "configuration", texts: ["\(path): ok"], isGood: true)
        }
        // Paths as they are on the host.
        let texts = result.problems.map { "\($0)".replacing(root, with: "") }
        return Finding(what: "configuration", texts: texts, isGood: false)
    }

    /// Each key can sign, also one that the configuration does not name.
    private func keys(of run: RestoreRun) -> Finding {
        let steps = run.plan.steps.filter { $0.entry.kind == .keys }
        var troubles: [String] = []
        for step in steps {
            do throws(FileFailure) {
                let pem = try Files.read(run.root.outside(step.target), atMost: Self.maxKeyOctets)
                do throws(KeyError) { _ = try PrivateKey(pem: pem) } catch {
                    troubles.append(
                        "\(LogText.escaped(step.target.utf8)): expected a private key for DKIM, found \(error)")
                }
            } catch {
                troubles.append("\(error)")
            }
        }
        guard troubles.isEmpty else { return Finding(what: "keys", texts: troubles, isGood: false) }
        let text =
            steps.isEmpty ? "none" : steps.count == 1 ? "1, which can sign" : "\(steps.count), all of which can sign"
        return Finding(what: "keys", texts: [text], isGood: true)
    }

    // MARK: Stores

    private func store(_ state: BackupManifest.State, _ path: String, _ now: UnixTime) -> Finding {
        let name = state.fileName
        do {
            let counts =
                switch state {
                case .greylist: try LedgerInspection.greylist(path)
                case .facts: try LedgerInspection.facts(path)
                case .limits: try LedgerInspection.limits(path)
                case .dns, .dkimKeys: [LedgerInspection.Count]()
                }
            if state == .dns { return cache(path, now) }
            if state == .dkimKeys { return Finding(what: name, texts: ["there"], isGood: true) }
            let text = counts.map { "\($0.number) \($0.name)" }.joined(separator: ", ")
            return Finding(what: name, texts: [text], isGood: true, counts: counts)
        } catch {
            return Finding(what: name, texts: ["\(error)"], isGood: false)
        }
    }

    /// A cache is no loss: what is wrong with it is told, and the backup does all the same.
    private func cache(_ path: String, _ now: UnixTime) -> Finding {
        let name = BackupManifest.State.dns.fileName
        do throws(FileFailure) {
            let octets = try Files.read(path, atMost: CacheSnapshot.maxOctets)
            do throws(CacheSnapshotError) {
                let count = try CacheSnapshot.entries(in: octets, now: now).count
                return Finding(what: name, texts: ["\(count) answers that are still of use"], isGood: true)
            } catch {
                return Finding(what: name, texts: ["of no use: \(error); postern-dns begins without it"], isGood: true)
            }
        } catch {
            return Finding(what: name, texts: ["\(error)"], isGood: false)
        }
    }
}
