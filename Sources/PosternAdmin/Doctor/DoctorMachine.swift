// What the doctor must know of this machine beside Postfix's and our own configuration: which daemons run, whether
// sockets answer, rights on the state folder, room on disks, the clock, backups. A value that tests write down; how it is
// gathered is at the end of the file. Nothing is changed.

internal import Glibc
internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket
internal import PosternStore

struct DoctorMachine: Sendable {
    /// Daemons that answer at their control sockets.
    var running: Set<DaemonName> = []
    /// Sockets that were dialled as Postfix would.
    var trials: [SocketTrial] = []
    /// What keeps daemons from writing where they remember things.
    var stateTroubles: [StateTrouble] = []
    var disks: [Disk] = []
    /// nil: the kernel did not tell.
    var isClockSynchronised: Bool?
    var backup = Backup.unknown
    /// Why the store of `[store]` does not take what it is asked; nil where it does, or there is none.
    var storeTrouble: String?
    /// Whom this system asks for DNS.
    var resolvers: [IPAddress] = []
    /// Its own global addresses.
    var addresses: [IPAddress] = []

    struct StateTrouble: Hashable, Sendable {
        var daemon: DaemonName
        /// `expected …, found …`.
        var text: String
        /// What mends it.
        var command: String
    }

    /// A file system, by a folder on it.
    struct Disk: Hashable, Sendable {
        var folder: String
        /// For others than root, in octets.
        var free: Int
        var total: Int
        var freeFiles: Int
        /// As after errors of the disk, where the kernel goes on without writing.
        var isReadOnly = false
    }

    /// What `postern backup` has left word of; ages in seconds.
    enum Backup: Hashable, Sendable {
        /// It could not be looked at.
        case unknown
        case never
        /// - Parameter tested: since a test has found that one would do; nil where none ever did.
        case made(ago: Int, tested: Int?)
    }
}

// MARK: Gathering

extension DoctorMachine {
    /// The machine that this runs on.
    /// - Parameter trying: the sockets that Postfix dials, and from where.
    init(
        _ configuration: Configuration, _ postfix: PostfixView, control: DaemonControl, trying: [DialledSocket],
        resolvers: [IPAddress], now: UnixTime
    ) {
        for daemon in DaemonName.allCases {
            switch control.ask(daemon, "status") {
            case .document, .failed: running.insert(daemon)
            case .notRunning: break
            }
        }
        let probe = SocketProbe(
            queueFolder: postfix.queueFolder, user: UserIdentity(named: postfix.value("mail_owner")))
        trials = trying.map { socket in
            SocketTrial(
                spelling: socket.spelling, isChrooted: socket.isChrooted,
                outcome: probe.outcome(socket.spelling, isChrooted: socket.isChrooted))
        }
        let state = configuration.state.directory
        stateTroubles = DaemonName.allCases.compactMap { Self.trouble(of: $0, in: state) }
        disks = [state, postfix.queueFolder].compactMap(Self.disk)
        isClockSynchronised = Self.clock()
        backup = Self.backup(in: state, now: now)
        storeTrouble = configuration.store.url.flatMap { Self.trouble(of: $0, configuration.store) }
        self.resolvers = resolvers
        addresses = Self.globalAddresses()
    }

    /// Tries it as daemons do: with a write, in the time that a decision has.
    private static func trouble(of url: StoreURL, _ settings: StoreSettings) -> String? {
        let store = SharedStore(url, settings, log: NoteCollector())
        do throws(StoreFailure) {
            _ = try store.command([Array("PING".utf8)], within: storePatience)  // begins with such a try
            return nil
        } catch {
            return "\(error)"
        }
    }
    /// For finding the server; longer than StoreKeeper takes to connect.
    private static let storePatience = Duration.seconds(10)

    static func backup(in folder: String, now: UnixTime) -> Backup {
        guard access(folder, X_OK) == 0 else { return .unknown }
        func age(_ last: LastBackup) -> Int { Int(clamping: max(0, (now - last.time).components.seconds)) }
        guard let made = LastBackup.read(.made, in: folder) else {
            // One that is there and cannot be read is told of by nobody else.
            return access(Files.path(LastBackup.Kind.made.rawValue, below: folder), F_OK) == 0 ? .unknown : .never
        }
        return .made(ago: age(made), tested: LastBackup.read(.tested, in: folder).map(age))
    }

    /// Judged by owner and mode, as path_resolution(7) does.
    private static func trouble(of daemon: DaemonName, in folder: String) -> StateTrouble? {
        guard let user = UserIdentity(named: daemon.rawValue), user.uid != 0 else { return nil }
        // As systemd/tmpfiles.d/postern.conf makes it.
        let command = "install -d -o root -g postern -m 3770 \(PostfixEdit.quoted(folder))"
        var status = stat()
        guard stat(folder, &status) == 0 else {
            return StateTrouble(
                daemon: daemon, text: "expected a folder at \(folder), found \(SystemText.of(errno))", command: command)
        }
        let bits: mode_t =
            status.st_uid == user.uid
            ? S_IWUSR | S_IXUSR : user.groups.contains(status.st_gid) ? S_IWGRP | S_IXGRP : S_IWOTH | S_IXOTH
        guard status.st_mode & bits != bits else { return fileTrouble(of: daemon, user, in: folder) }
        let mode = String(status.st_mode & 0o7777, radix: 8)
        return StateTrouble(
            daemon: daemon,
            text:
                "expected a folder that user \(user.name) can write to, found mode \(mode) of uid \(status.st_uid) and "
                + "gid \(status.st_gid) at \(folder)",
            command: command)
    }

    /// Files that another user's process has made, such as a restore by hand.
    private static func fileTrouble(of daemon: DaemonName, _ user: UserIdentity, in folder: String) -> StateTrouble? {
        for state in BackupManifest.State.allCases where state.daemon == daemon {
            let path = Files.path(state.fileName, below: folder)
            var status = stat()
            guard stat(path, &status) == 0, status.st_uid != user.uid else { continue }
            // SQLite has files of its own beside it.
            let files = PostfixEdit.quoted(path) + (state.isSQLite ? "*" : "")
            return StateTrouble(
                daemon: daemon,
                text: "expected a file of user \(user.name), found one of uid \(status.st_uid) at \(path)",
                command: "chown \(user.name) \(files)")
        }
        return nil
    }

    private static func disk(_ folder: String) -> Disk? {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return nil }
        func octets(_ blocks: fsblkcnt_t) -> Int {
            let (product, overflow) = UInt64(blocks).multipliedReportingOverflow(by: UInt64(status.f_frsize))
            return overflow ? .max : Int(clamping: product)
        }
        // Some file systems (btrfs) count no files: all numbers are 0 then.
        let freeFiles = status.f_files == 0 ? .max : Int(clamping: status.f_favail)
        return Disk(
            folder: folder, free: octets(status.f_bavail), total: octets(status.f_blocks), freeFiles: freeFiles,
            isReadOnly: status.f_flag & UInt(ST_RDONLY) != 0)
    }

    /// Whether something keeps the kernel's clock right. Source: adjtimex(2), TIME_ERROR.
    private static func clock() -> Bool? {
        // Swift's module of glibc leaves sys/timex.h out; the function is found by name. It takes a structure of at
        // most 208 octets, of which it reads the first field: 0 changes nothing.
        typealias Call = @convention(c) (UnsafeMutableRawPointer) -> Int32
        guard let symbol = dlsym(nil, "adjtimex") else { return nil }
        let call = unsafeBitCast(symbol, to: Call.self)
        let state = withUnsafeTemporaryAllocation(byteCount: 512, alignment: 16) { buffer -> Int32 in
            buffer.initializeMemory(as: UInt8.self, repeating: 0)
            return buffer.baseAddress.map(call) ?? -1
        }
        let isWrong: Int32 = 5  // TIME_ERROR
        return state < 0 ? nil : state != isWrong
    }

    /// Most interface addresses that are looked at.
    private static let maxAddresses = 256

    /// Addresses of this machine that others could see: no loopback, no link-local, no private ones.
    private static func globalAddresses() -> [IPAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [IPAddress] = []
        var next = list
        while let entry = next, found.count < maxAddresses {
            next = entry.pointee.ifa_next
            guard let address = entry.pointee.ifa_addr else { continue }
            let ip: IPAddress?
            switch Int32(address.pointee.sa_family) {
            case AF_INET:
                ip = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    .v4(UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
                }
            case AF_INET6:
                ip = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    withUnsafeBytes(of: $0.pointee.sin6_addr) { IPAddress(octets: Array($0)) }
                }
            default: ip = nil
            }
            if let ip, ip.isGlobal { found.append(ip) }
        }
        return found
    }
}

extension IPAddress {
    /// Addresses that nobody outside sees. Source: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
    private static let local = [
        "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
        "::/127", "fc00::/7", "fe80::/10",
    ].compactMap { try? Network($0) }  // they are networks

    var isGlobal: Bool { !Self.local.contain(self) }
}
