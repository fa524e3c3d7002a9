// `postern backup`: what its subcommands have in common.

internal import ArgumentParser
internal import PosternDaemon

/// `postern backup`.
struct BackupCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Makes backups of configuration, keys and state, and puts them back.",
        discussion: """
            One archive holds what this host has of Postern: the configuration with the lists, zones and passwords \
            that it names, the DKIM private keys, and what the daemons remember, each taken at one moment while mail \
            goes on. It is a tar in Zstandard whose last octets are the SHA-256 of all before them.

            An archive holds private keys: whoever can read it can sign as you. Archives are made for root alone \
            (0600); encrypt those that leave the host.

            EXAMPLES
              postern backup create
              postern backup list
              postern backup verify FILE
              postern backup prune --dry-run
              postern backup create --to - | age -r age1… > mx1.tar.zst.age

            EXIT STATUS
              0   done
              1   a negative finding: something is missing in an archive, or wrong
              64  the command line is wrong
              65  an archive is damaged
              69  something needed is not there: a file, a folder, room
              78  the configuration is wrong

            FILES
              \(BackupFolder.usual)
              \(DaemonArguments.defaultConfiguration)
            """,
        subcommands: [
            BackupCreate.self, BackupList.self, BackupVerify.self, BackupTest.self, BackupRestore.self,
            BackupPrune.self,
        ])
}
