// Writes an archive as a stream: a pax tar (POSIX.1-2001) in Zstandard (RFC 8878), the manifest first, our trailer
// last.
//
// Zstandard and not gzip: a backup runs beside mail, and at a better ratio it takes a fifth of the CPU. Debian's `tar`
// reads it where the package zstd is installed. The manifest comes first so that `list` need not read the rest;
// therefore contents are hashed before they are written, and again while they are: a file that changed in between is an
// error.

internal import CArchive
internal import PosternDaemon
internal import PosternMail

/// One archive that is being written. It belongs to one thread.
final class ArchiveWriter {
    typealias Sink = ([UInt8]) throws(CommandFailure) -> Void

    private let archive: OpaquePointer  // struct archive *, owned
    private let output: ArchiveOutput
    private let manifest: BackupManifest
    private var written = 0

    /// Writes the manifest.
    /// - Parameter manifest: of what will be added.
    /// - Parameter sink: takes the archive's octets in order.
    init(_ manifest: BackupManifest, to sink: @escaping Sink) throws(CommandFailure) {
        do throws(BackupManifestError) { try manifest.check() } catch {
            throw CommandFailure(.badData, "the archive would not be one: \(error)")
        }
        output = try ArchiveOutput(sink)
        guard let archive = archive_write_new() else { throw .noMemory }
        self.archive = archive
        self.manifest = manifest
        try check(archive_write_set_format_pax_restricted(archive), "begin the archive")
        if !manifest.entries.allSatisfy({ $0.path.utf8.allSatisfy { $0 < 0x80 } }) {
            // Names are octets to us as they are to the file system, whatever the locale.
            try check(archive_write_set_format_option(archive, "pax", "hdrcharset", "BINARY"), "begin the archive")
        }
        try check(archive_write_add_filter_zstd(archive), "begin the archive")
        // No padding behind the compressed octets.
        try check(archive_write_set_bytes_in_last_block(archive, 1), "begin the archive")
        let reference = Unmanaged.passUnretained(output).toOpaque()  // we hold it for as long as the archive
        try check(archive_write_open(archive, reference, nil, takeArchiveOctets, nil), "begin the archive")
        let json = manifest.json
        guard json.count <= BackupManifest.maxOctets else {
            throw CommandFailure(.badData, "expected fewer files to back up, found \(manifest.entries.count)")
        }
        try begin(BackupManifest.path, octets: json.count, owner: "root", group: "root", mode: 0o600)
        try write(json)
    }

    deinit {
        output.abandon()  // archive_write_free(3) would end what was not ended
        archive_write_free(archive)
    }

    /// Adds the next of the manifest's files.
    /// - Parameter read: gives its octets piece by piece, and none at the end.
    func add(_ read: () throws(CommandFailure) -> [UInt8]) throws(CommandFailure) {
        guard let entry = manifest.entries.dropFirst(written).first else {
            preconditionFailure("more files than the manifest has")
        }
        written += 1
        try begin(entry.path, octets: entry.size, owner: entry.owner, group: entry.group, mode: entry.mode)
        let digest = try ContentDigest()
        var left = entry.size
        while true {
            let octets = try read()
            if octets.isEmpty { break }
            guard octets.count <= left else { throw .changed(entry) }
            left -= octets.count
            try digest.update(octets)
            try write(octets)
        }
        guard left == 0, try digest.finish() == entry.sha256 else { throw .changed(entry) }
    }

    /// Ends the archive: only now it is one.
    func finish() throws(CommandFailure) {
        precondition(written == manifest.entries.count, "fewer files than the manifest has")
        try check(archive_write_close(archive), "end the archive")
        try output.end()
    }

    private func begin(_ path: String, octets: Int, owner: String, group: String, mode: UInt32) throws(CommandFailure) {
        guard let entry = archive_entry_new() else { throw .noMemory }
        defer { archive_entry_free(entry) }
        archive_entry_set_pathname(entry, path)
        archive_entry_set_size(entry, Int64(octets))
        archive_entry_set_filetype(entry, PST_AE_IFREG)
        archive_entry_set_perm(entry, mode)
        archive_entry_set_uname(entry, owner)
        archive_entry_set_gname(entry, group)
        archive_entry_set_mtime(entry, Int(manifest.created.seconds), 0)
        try check(archive_write_header(archive, entry), "write the archive")
    }

    private func write(_ octets: [UInt8]) throws(CommandFailure) {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { archive_write_data(archive, $0.baseAddress, $0.count) }
            guard count > 0 else { throw failure("write the archive") }
            rest = rest.dropFirst(count)
        }
    }

    private func check(_ status: Int32, _ operation: String) throws(CommandFailure) {
        guard status == PST_ARCHIVE_OK else { throw failure(operation) }
    }

    private func failure(_ operation: String) -> CommandFailure {
        output.trouble ?? CommandFailure(.unavailable, "cannot \(operation): \(ArchiveText.error(of: archive))")
    }
}

/// What libarchive hands its octets to.
private final class ArchiveOutput {
    private let sink: ArchiveWriter.Sink
    private var digest: ContentDigest?
    private(set) var trouble: CommandFailure?

    init(_ sink: @escaping ArchiveWriter.Sink) throws(CommandFailure) {
        self.sink = sink
        digest = try ContentDigest()
    }

    /// - Returns: whether they were taken.
    func take(_ octets: [UInt8]) -> Bool {
        guard trouble == nil else { return false }
        do throws(CommandFailure) {
            try digest?.update(octets)
            try sink(octets)
        } catch {
            trouble = error
        }
        return trouble == nil
    }

    /// Takes no more.
    func abandon() { if trouble == nil { trouble = CommandFailure(.unavailable, "the archive was not ended") } }

    func end() throws(CommandFailure) {
        if let trouble { throw trouble }
        guard let hash = try digest?.finish() else { return }
        try sink(ArchiveTrailer.make(hash: hash))
    }
}

/// Source: archive_write_callback of archive_write_open(3).
private func takeArchiveOctets(
    _ archive: OpaquePointer?, _ reference: UnsafeMutableRawPointer?, _ octets: UnsafeRawPointer?, _ count: Int
) -> Int {
    guard let reference, let octets else { return -1 }
    let output = Unmanaged<ArchiveOutput>.fromOpaque(reference).takeUnretainedValue()
    return output.take(Array(UnsafeRawBufferPointer(start: octets, count: count))) ? count : -1
}

enum ArchiveText {
    /// libarchive's sentence on the last failure. It may quote a stranger's archive.
    static func error(of archive: OpaquePointer) -> String {
        guard let text = archive_error_string(archive) else { return "no reason given" }
        return LogText.escaped(String(cString: text).utf8)
    }
}

extension CommandFailure {
    static let noMemory = CommandFailure(.unavailable, "there is no memory left")

    /// A file was not the same when it was read again.
    static func changed(_ entry: BackupManifest.Entry) -> CommandFailure {
        CommandFailure(.unavailable, "\(entry.shown) changed while it was backed up; try again")
    }
}
