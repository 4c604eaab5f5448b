from parity.differential import main
import sys
if __name__=='__main__':
    main(int(sys.argv[1]),int(sys.argv[2]),sys.argv[3])
