// Reads an archive, which may be damaged, cut off, or a stranger's. First the trailer is compared with the hash of all
// that stands before it, so that libarchive is never given damaged octets; then each member must be the manifest's next
// one, a plain file of the right size and SHA-256. Links, devices, folders, other names, and anything behind the last
// member are refused, and so is what unpacks to more than the manifest's files: of 32 MiB of Zstandard a tebibyte of
// zeros may come. Nothing here makes a file: where contents go is the caller's.
//
// All failures name the archive; those about its octets have the status `badData`.

internal import CArchive
internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// A part of an archive's contents.
enum ArchivePiece {
    /// A file begins.
    case begin(BackupManifest.Entry)
    /// More of its octets; not yet known to be right.
    case octets([UInt8])
    /// It had its size and its SHA-256.
    case end(BackupManifest.Entry)
}

/// One archive's file. It belongs to one thread.
final class ArchiveReader {
    /// For people: as it was named.
    let path: String
    let manifest: BackupManifest
    /// Of the file.
    let octets: Int
    private let file: ArchiveInput

    /// A warning where others may read its keys.
    var exposure: String? {
        guard file.isOpenToOthers, manifest.keys > 0 else { return nil }
        return "warning: \(path) may be read by others than its owner, and it holds private keys: chmod 600"
    }

    private static let chunkOctets = 256 << 10

    /// Opens an archive and reads its manifest.
    /// - Parameter isWholeChecked: false to look at the manifest only, of a file that may be damaged elsewhere.
    /// - Parameter progress: gets how many of the file's octets were checked.
    init(
        _ path: String, isWholeChecked: Bool = true, progress: (_ octets: Int) -> Void = { _ in }
    ) throws(CommandFailure) {
        self.path = path
        let file = try ArchiveInput(path)
        self.file = file
        octets = file.octets
        if isWholeChecked { try file.check(progress) }
        manifest = try Self.manifest(of: file)
    }

    /// Reads all members in the manifest's order.
    /// - Parameter take: gets each of them piece by piece; what it throws ends the reading.
    func read(_ take: (ArchivePiece) throws(CommandFailure) -> Void) throws(CommandFailure) {
        let members = try ArchiveMembers(file, mostOctets: mostUnpacked)
        _ = try Self.manifestOctets(of: members, file)  // read when it was opened
        for entry in manifest.entries {
            guard let member = try members.next() else {
                throw file.damaged("expected \(entry.shown), found the archive's end")
            }
            guard member.path == entry.path else {
                throw file.damaged("expected \(LogText.escaped(entry.path.utf8)), found \(member.shown)")
            }
            guard member.octets == entry.size else {
                throw file.damaged("\(entry.shown): expected \(entry.size) octets, found \(member.octets)")
            }
            try take(.begin(entry))
            let digest = try ContentDigest()
            var left = entry.size
            while true {
                let octets = try members.read(atMost: min(Self.chunkOctets, left + 1))
                if octets.isEmpty { break }
                guard octets.count <= left else { throw file.damaged("\(entry.shown): expected less of it") }
                left -= octets.count
                try digest.update(octets)
                try take(.octets(octets))
            }
            guard left == 0, try digest.finish() == entry.sha256 else {
                throw file.damaged("\(entry.shown): expected the SHA-256 of the manifest, found another")
            }
            try take(.end(entry))
        }
        if let member = try members.next() {
            throw file.damaged("expected the archive's end, found \(member.shown), which the manifest does not have")
        }
    }

    /// Most octets of the tar: the files, and for each a header, its long name's, and what fills its last block.
    private var mostUnpacked: Int { manifest.octets + manifest.entries.count * (8 << 10) + Self.mostBeforeFiles }
    /// Most octets of the tar up to the manifest's end, and behind the last file.
    private static let mostBeforeFiles = BackupManifest.maxOctets + 1 << 20

    private static func manifest(of file: ArchiveInput) throws(CommandFailure) -> BackupManifest {
        let octets = try manifestOctets(of: try ArchiveMembers(file, mostOctets: mostBeforeFiles), file)
        do throws(BackupManifestError) { return try BackupManifest(json: octets) } catch {
            throw file.damaged("manifest: \(error)")
        }
    }

    private static func manifestOctets(
        of members: ArchiveMembers, _ file: ArchiveInput
    ) throws(CommandFailure) -> [UInt8] {
        guard let member = try members.next() else { throw file.damaged("expected a manifest, found nothing") }
        guard member.path == BackupManifest.path else {
            throw file.damaged("expected \(BackupManifest.path), found \(member.shown)")
        }
        guard member.octets <= BackupManifest.maxOctets else {
            throw file.damaged("expected a manifest of at most \(BackupManifest.maxOctets) octets, found a longer one")
        }
        var octets: [UInt8] = []
        octets.reserveCapacity(member.octets + 1)
        while octets.count <= member.octets {
            let piece = try members.read(atMost: min(chunkOctets, member.octets - octets.count + 1))
            if piece.isEmpty { break }
            octets += piece
        }
        return octets
    }
}

/// The file below libarchive.
private final class ArchiveInput {
    let path: String
    let octets: Int
    /// Without the trailer.
    let bodyOctets: Int
    private let file: OpenFile

    init(_ path: String) throws(CommandFailure) {
        guard let file = try OpenFile.open(path, follows: true) else {
            throw CommandFailure(FileFailure.system(operation: "read \(path)", errno: ENOENT))
        }
        guard file.isPlain else {
            let found =
                file.status.st_mode & S_IFMT == S_IFDIR
                ? "a folder; `postern backup list` tells what is in it" : "something else than a plain file"
            throw CommandFailure(.badData, "\(path): expected an archive, found \(found)")
        }
        self.path = path
        self.file = file
        octets = file.octets
        bodyOctets = max(0, octets - ArchiveTrailer.octets)
    }

    /// Whether others than its owner may read it.
    var isOpenToOthers: Bool { file.status.st_mode & 0o077 != 0 }

    func damaged(_ text: String) -> CommandFailure { CommandFailure(.badData, "\(path): \(text)") }

    /// Compares the trailer with all before it.
    func check(_ progress: (_ octets: Int) -> Void) throws(CommandFailure) {
        let trailer = try read(at: bodyOctets, atMost: ArchiveTrailer.octets + 1)
        guard let expected = ArchiveTrailer.hash(in: trailer) else {
            if let wrapping = Wrapping(of: try read(at: 0, atMost: Wrapping.octets)) {
                throw damaged(
                    "expected an archive, found one that \(wrapping.rawValue) has encrypted: decrypt it into a file "
                        + "first, by `\(wrapping.command)`")
            }
            throw damaged("expected an archive's end, found none: it is cut off, damaged, or no archive of Postern's")
        }
        let digest = try ContentDigest()
        var offset = 0
        while offset < bodyOctets {
            let octets = try read(at: offset, atMost: min(1 << 20, bodyOctets - offset))
            guard !octets.isEmpty else { throw damaged("expected \(self.octets) octets, found fewer") }
            try digest.update(octets)
            offset += octets.count
            progress(offset)
        }
        guard try digest.finish() == expected else {
            throw damaged("expected the SHA-256 that its end names, found another: it is damaged")
        }
    }

    func read(at offset: Int, atMost limit: Int) throws(CommandFailure) -> [UInt8] {
        try file.read(at: offset, atMost: limit)
    }
}

/// What an archive is encrypted with, by the first octets of the file.
private enum Wrapping: String {
    case age, gpg

    static let octets = 32

    init?(of head: [UInt8]) {
        if ["age-encryption.org/", "-----BEGIN AGE ENCRYPTED"].contains(where: { head.starts(with: $0.utf8) }) {
            self = .age
            return
        }
        // A session key for a public key or a passphrase, in both forms of a packet's header (RFC 9580 §4.2, §5).
        guard
            head.starts(with: "-----BEGIN PGP MESSAGE".utf8)
                || [0x84, 0x85, 0x8C, 0xC1, 0xC3].contains(head.first)
        else { return nil }
        self = .gpg
    }

    var command: String {
        switch self {
        case .age: "age -d -i KEY -o ARCHIVE FILE"
        case .gpg: "gpg -o ARCHIVE -d FILE"
        }
    }
}

/// The members of an archive's file, in order.
private final class ArchiveMembers {
    struct Member {
        let path: String
        let octets: Int
        var shown: String { LogText.escaped(path.utf8) }
    }

    private let archive: OpaquePointer  // struct archive *, owned
    private let input: ArchiveInput
    private let body: ArchiveBody

    /// - Parameter mostOctets: of the tar.
    init(_ input: ArchiveInput, mostOctets: Int) throws(CommandFailure) {
        guard let archive = archive_read_new() else { throw .noMemory }
        self.archive = archive
        self.input = input
        body = ArchiveBody(input, mostOctets: mostOctets)
        try check(archive_read_support_filter_zstd(archive))
        try check(archive_read_support_format_tar(archive))
        // Goes on behind the end of the tar: what is hidden there is found, and refused.
        try check(archive_read_set_format_option(archive, "tar", "read_concatenated_archives", "1"))
        let reference = Unmanaged.passUnretained(body).toOpaque()  // we hold it for as long as the archive
        try check(archive_read_open(archive, reference, nil, giveArchiveOctets, nil))
        guard archive_filter_code(archive, 0) == PST_ARCHIVE_FILTER_ZSTD else {
            throw input.damaged("expected Zstandard, found something else")
        }
    }

    deinit { archive_read_free(archive) }

    /// - Returns: nil behind the last.
    func next() throws(CommandFailure) -> Member? {
        var entry: OpaquePointer?
        let status = archive_read_next_header(archive, &entry)
        if status == PST_ARCHIVE_EOF {
            guard body.isAtEnd else { throw input.damaged("expected the archive's end, found more octets") }
            guard body.hasRoom(archive) else { throw failure }
            return nil
        }
        guard status == PST_ARCHIVE_OK, let entry, let name = archive_entry_pathname(entry) else { throw failure }
        let path = String(cString: name)
        let isPlain =
            archive_entry_filetype(entry) == PST_AE_IFREG && archive_entry_hardlink(entry) == nil
            && archive_entry_symlink(entry) == nil && archive_entry_sparse_count(entry) == 0
        guard isPlain else {
            throw input.damaged("expected plain files only, found \(LogText.escaped(path.utf8)) of another kind")
        }
        guard archive_entry_size_is_set(entry) != 0, let octets = Int(exactly: archive_entry_size(entry)), octets >= 0
        else { throw input.damaged("\(LogText.escaped(path.utf8)): expected a size, found none") }
        return Member(path: path, octets: octets)
    }

    /// - Returns: more of the member's octets; none at its end.
    func read(atMost limit: Int) throws(CommandFailure) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: limit)
        let count = octets.withUnsafeMutableBytes { archive_read_data(archive, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw failure }
        octets.removeLast(limit - count)
        return octets
    }

    private func check(_ status: Int32) throws(CommandFailure) {
        guard status == PST_ARCHIVE_OK else { throw failure }
    }

    private var failure: CommandFailure {
        body.trouble
            ?? input.damaged("expected an archive of Postern's, found another: \(ArchiveText.error(of: archive))")
    }
}

/// What libarchive reads: the file up to its trailer.
private final class ArchiveBody {
    private let input: ArchiveInput
    private let mostOctets: Int
    /// Small: what it holds may unpack to a gibibyte before anybody looks. Source: RFC 8878 §3.1.1.2.2, RLE_Block.
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 16)  // owned
    private var offset = 0
    private(set) var trouble: CommandFailure?

    /// - Parameter mostOctets: most that it may unpack to.
    init(_ input: ArchiveInput, mostOctets: Int) { (self.input, self.mostOctets) = (input, mostOctets) }

    deinit { buffer.deallocate() }

    var isAtEnd: Bool { offset == input.bodyOctets }

    /// Whether no more was unpacked than there may be; sets `trouble` if not.
    func hasRoom(_ archive: OpaquePointer) -> Bool {
        guard archive_filter_bytes(archive, 0) > mostOctets else { return true }
        trouble = input.damaged("expected a tar of at most \(mostOctets) octets, found a longer one")
        return false
    }

    /// - Returns: how many octets lie in the buffer; -1 for a failure.
    func fill(_ archive: OpaquePointer, _ start: UnsafeMutablePointer<UnsafeRawPointer?>) -> Int {
        guard hasRoom(archive) else { return -1 }
        do throws(CommandFailure) {
            let octets = try input.read(at: offset, atMost: min(buffer.count, input.bodyOctets - offset))
            offset += octets.count
            buffer.copyBytes(from: octets)
            start.pointee = UnsafeRawPointer(buffer.baseAddress)  // until the next call, as archive_read_open(3) has it
            return octets.count
        } catch {
            trouble = error
            return -1
        }
    }
}

/// Source: archive_read_callback of archive_read_open(3).
private func giveArchiveOctets(
    _ archive: OpaquePointer?, _ reference: UnsafeMutableRawPointer?, _ start: UnsafeMutablePointer<UnsafeRawPointer?>?
) -> Int {
    guard let archive, let reference, let start else { return -1 }
    return Unmanaged<ArchiveBody>.fromOpaque(reference).takeUnretainedValue().fill(archive, start)
}
