// What a restore does, as values: which file goes where and in which order, what is there already and what becomes of it,
// which folders are made, whose everything is. Made before anything is written; nothing is read or written here.
//
// The order: state, then keys, then what the configuration names, then the configuration itself. Whatever ends a restore
// in between, a configuration never stands there before what it names.

internal import PosternDaemon
internal import PosternMail

/// The user and group that a file is given to.
struct FileOwner: Hashable, Sendable {
    var user: UInt32
    var group: UInt32
}

struct RestorePlan: Equatable, Sendable {
    /// What becomes of one file.
    enum Change: String, Sendable {
        /// Nothing is at its place.
        case new
        /// It is there, with the same octets, owner and mode.
        case same
        /// It is there, with another owner or mode.
        case rights
        /// Something else is there, and is kept under another name.
        case replaced
    }

    struct Step: Equatable, Sendable {
        let entry: BackupManifest.Entry
        /// Below the root, absolute as if that were `/`.
        let target: String
        let change: Change
        /// nil: whoever restores.
        let owner: FileOwner?
        let mode: UInt32
        /// In the target's folder: where the file is written, and where the old one stands for a moment.
        let temporaryName: String
        /// In the target's folder: what the old file is called afterwards.
        let keptName: String

        /// Whether octets are written.
        var writes: Bool { change == .new || change == .replaced }
    }

    /// A folder that is made, since it is missing.
    struct Folder: Equatable, Sendable {
        let path: String
        let mode: UInt32
        /// nil: whoever restores.
        let owner: FileOwner?
    }

    /// In the order in which they are put in place.
    let steps: [Step]
    /// Outer ones first.
    let folders: [Folder]
    /// In the names of what is kept: `20261121T120000Z`.
    let stamp: String

    /// Of the names that files have while they are written.
    static let temporaryPrefix = ".restore-"
    /// The kinds that a restore puts back; Postfix's own files are the admin's to compare.
    static let kinds: [BackupManifest.Kind] = [.config, .keys, .state]

    var kept: [Step] { steps.filter { $0.change == .replaced } }
    /// Whether nothing at all would change.
    var isEmpty: Bool { steps.allSatisfy { $0.change == .same } }
    /// The daemons whose state is written, which must not run meanwhile.
    var ownersOfState: [DaemonName] {
        let owners = steps.filter { $0.change != .same }.compactMap { $0.entry.state?.daemon }
        return DaemonName.allCases.filter(owners.contains)
    }
    var stateDirectory: String? { steps.first { $0.entry.kind == .state }.map { Files.folder(of: $0.target) } }
}

/// What is at a file's place.
enum FoundFile: Equatable, Sendable {
    case absent
    /// - Parameter isSettled: nothing beside it belongs to it, such as SQLite's log.
    case file(sha256: [UInt8], mode: UInt32, owner: FileOwner, isSettled: Bool)
    /// A symbolic link: it is replaced, never followed.
    case link
    /// A folder, pipe, socket or device.
    case other
}

/// Why there is no plan: everything that is in its way, told at once.
struct RestoreObstacles: Error, Equatable {
    var texts: [String]
}

// MARK: Making

/// Whose files are made.
struct RestoreOwners: Sendable {
    /// A user's number by name; nil where this machine has no such user.
    var user: @Sendable (String) -> (id: UInt32, group: UInt32)?
    /// A group's number by name.
    var group: @Sendable (String) -> UInt32?
    /// Why files stay whoever restores'; nil where they are given away.
    var keepsCallers: String?
}

extension RestorePlan {
    /// Where the files of an archive go.
    struct Places {
        /// The kinds that are wanted.
        var kinds: Set<BackupManifest.Kind> = Set(RestorePlan.kinds)
        /// Where the configuration goes; nil: where it was. What lay below its folder goes below the new one.
        var configuration: String?
        /// Whether nobody but who restores shall read any of it.
        var isPrivate = false

        func mode(of entry: BackupManifest.Entry) -> UInt32 { isPrivate ? entry.mode & 0o700 | 0o600 : entry.mode }

        func target(of entry: BackupManifest.Entry, _ manifest: BackupManifest) -> String {
            guard let configuration, configuration != manifest.configuration else { return entry.original }
            if entry.original == manifest.configuration { return configuration }
            guard let rest = Self.path(entry.original, below: Files.folder(of: manifest.configuration)),
                entry.kind != .state
            else { return entry.original }
            let folder = Files.folder(of: configuration)
            return folder == "/" ? "/\(rest)" : "\(folder)/\(rest)"
        }

        /// The rest of a path that begins with a folder's.
        private static func path(_ path: String, below folder: String) -> String? {
            let start = folder == "/" ? "/" : folder + "/"
            return path.hasPrefix(start) ? String(path.dropFirst(start.count)) : nil
        }
    }

    /// - Parameter found: what is at a path below the root.
    /// - Parameter hasFolder: whether a folder is there.
    /// - Parameter time: `20261121T120000Z`.
    /// - Parameter token: in the names of files that are being written; no other restore has the same.
    init(
        _ manifest: BackupManifest, _ places: Places, owners: RestoreOwners, time: String, token: String,
        found: (String, BackupManifest.Entry) throws(CommandFailure) -> FoundFile,
        hasFolder: (String) throws(CommandFailure) -> Bool
    ) throws {
        var drafts: [(entry: BackupManifest.Entry, target: String, change: Change, owner: FileOwner?)] = []
        var obstacles = Obstacles()
        for entry in manifest.entries where places.kinds.contains(entry.kind) && Self.kinds.contains(entry.kind) {
            let target = places.target(of: entry, manifest)
            let owner = obstacles.owner(of: entry, owners)
            switch try found(target, entry) {
            case .other:
                obstacles.texts.append(
                    "\(LogText.escaped(target.utf8)): expected a file or nothing, found a folder, pipe, socket or device"
                )
            case .absent: drafts.append((entry, target, .new, owner))
            case .link: drafts.append((entry, target, .replaced, owner))
            case .file(let sha256, let mode, let there, let isSettled):
                let hasRights = mode == places.mode(of: entry) && (owner == nil || owner == there)
                let change: Change =
                    sha256 != entry.sha256 || !isSettled ? .replaced : hasRights ? .same : .rights
                drafts.append((entry, target, change, owner))
            }
        }
        var targets: Set<String> = []
        for draft in drafts where !targets.insert(draft.target).inserted {
            obstacles.texts.append("\(LogText.escaped(draft.target.utf8)): expected one file there, found two")
        }
        // A configuration that goes elsewhere takes with it what lay below its folder, to where other files may be.
        let targetFolders = Self.folders(above: targets)
        for draft in drafts where targetFolders.contains(draft.target) {
            obstacles.texts.append(
                "\(LogText.escaped(draft.target.utf8)): expected a file only, found a folder of others too")
        }
        guard obstacles.texts.isEmpty else { throw RestoreObstacles(texts: obstacles.texts) }
        drafts.sort { (Self.rank($0.entry, manifest), $0.target) < (Self.rank($1.entry, manifest), $1.target) }

        let stamp = try Self.freeStamp(
            time, drafts.filter { $0.change == .replaced }.map { ($0.entry, $0.target) },
            taken: targets.union(targetFolders), found)
        self.stamp = stamp
        steps = drafts.enumerated().map { number, draft in
            Step(
                entry: draft.entry, target: draft.target, change: draft.change, owner: draft.owner,
                mode: places.mode(of: draft.entry),
                temporaryName: "\(Self.temporaryPrefix)\(token)-\(number)",
                keptName: "\(Self.name(of: draft.target)).replaced-\(stamp)")
        }
        for step in steps where step.keptName.utf8.count > Self.maxName {
            obstacles.texts.append(
                "\(LogText.escaped(step.target.utf8)): expected a shorter name, found one of more octets")
        }
        folders = try Self.folders(steps, manifest, places, owners, hasFolder)
        guard obstacles.texts.isEmpty else { throw RestoreObstacles(texts: obstacles.texts) }
    }

    /// Source: NAME_MAX.
    private static let maxName = 255
    /// Restores in one second.
    private static let maxStamps = 100

    /// A smaller one is put in place earlier.
    private static func rank(_ entry: BackupManifest.Entry, _ manifest: BackupManifest) -> Int {
        switch entry.kind {
        case .state: 0
        case .keys: 1
        case .config: entry.original == manifest.configuration ? 3 : 2
        case .postfix: 4
        }
    }

    /// The last part of a path.
    static func name(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }

    /// All folders that paths lie in.
    private static func folders(above paths: Set<String>) -> Set<String> {
        var folders: Set<String> = []
        for path in paths {
            var folder = Files.folder(of: path)
            while folder != "/", folders.insert(folder).inserted { folder = Files.folder(of: folder) }
        }
        return folders
    }

    /// A time that no kept file has in its name.
    /// - Parameter taken: paths of the archive's own: what an archive calls like a kept file must not replace it.
    private static func freeStamp(
        _ time: String, _ replaced: [(entry: BackupManifest.Entry, target: String)], taken: Set<String>,
        _ found: (String, BackupManifest.Entry) throws(CommandFailure) -> FoundFile
    ) throws(CommandFailure) -> String {
        for number in 1...maxStamps {
            let stamp = number == 1 ? time : "\(time)-\(number)"
            var isFree = true
            for (entry, target) in replaced where isFree {
                let kept = "\(target).replaced-\(stamp)"
                if taken.contains(kept) { isFree = false } else { isFree = try found(kept, entry) == .absent }
            }
            if isFree { return stamp }
        }
        throw CommandFailure(.unavailable, "expected fewer than \(maxStamps) restores in one second, found more")
    }
}

// MARK: Folders

extension RestorePlan {
    /// The missing ones, as systemd/tmpfiles.d makes them: what is below the folders of configuration and state is for
    /// the daemons alone, what is above them is everybody's.
    private static func folders(
        _ steps: [Step], _ manifest: BackupManifest, _ places: Places, _ owners: RestoreOwners,
        _ hasFolder: (String) throws(CommandFailure) -> Bool
    ) throws(CommandFailure) -> [Folder] {
        let configuration = Files.folder(of: places.configuration ?? manifest.configuration)
        // What the configuration itself belongs to, all daemons read.
        let readers = manifest.entries.first { $0.original == manifest.configuration }.flatMap { entry in
            UInt32(entry.group) ?? owners.group(entry.group)
        }
        var made: [String: Folder] = [:]
        for step in steps where step.writes {
            var folder = Files.folder(of: step.target)
            var isNearest = true
            while folder != "/", made[folder] == nil {
                guard try !hasFolder(folder) else { break }
                let owner = step.owner.map { owner in
                    FileOwner(
                        user: 0, group: folder == configuration ? readers ?? owner.group : group(of: step, owners))
                }
                let isOurs = folder.hasPrefix(configuration + "/") || folder == configuration
                if isNearest, step.entry.kind == .state {
                    // Many daemons make their files there, and none removes another's. Whoever is alone needs no more.
                    made[folder] = Folder(path: folder, mode: owner == nil ? 0o770 : 0o3770, owner: owner)
                } else if isOurs || isNearest && step.entry.kind == .keys {
                    made[folder] = Folder(path: folder, mode: 0o750, owner: owner)
                } else {
                    made[folder] = Folder(
                        path: folder, mode: 0o755, owner: owner.map { _ in FileOwner(user: 0, group: 0) })
                }
                folder = Files.folder(of: folder)
                isNearest = false
            }
        }
        return made.values.sorted { $0.path < $1.path }
    }

    /// Who enters a file's folder: for keys postern-dkim's own group, which nobody else is in.
    private static func group(of step: Step, _ owners: RestoreOwners) -> UInt32 {
        let own = step.entry.kind == .keys ? owners.user(step.entry.owner)?.group : nil
        return own ?? step.owner?.group ?? 0
    }
}

// MARK: Owners

private struct Obstacles {
    var texts: [String] = []
    private var users: Set<String> = []
    private var groups: Set<String> = []

    /// - Returns: nil for whoever restores, and where there is none.
    mutating func owner(of entry: BackupManifest.Entry, _ owners: RestoreOwners) -> FileOwner? {
        guard owners.keepsCallers == nil else { return nil }
        let user = UInt32(entry.owner) ?? owners.user(entry.owner)?.id
        let group = UInt32(entry.group) ?? owners.group(entry.group)
        if user == nil, users.insert(entry.owner).inserted { texts.append(missing("user", entry.owner)) }
        if group == nil, groups.insert(entry.group).inserted { texts.append(missing("group", entry.group)) }
        guard let user, let group else { return nil }
        return FileOwner(user: user, group: group)
    }

    private func missing(_ what: String, _ name: String) -> String {
        "this machine has no \(what) \(name); install Postern's package, which makes it, or run systemd-sysusers"
    }

}
